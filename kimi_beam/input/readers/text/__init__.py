"""Text as lines, the same for every format: words that flow, rows of tables, and the encodings that files say."""
