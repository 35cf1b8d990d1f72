"""The characters of a page as words, lines, columns and rows of tables."""
