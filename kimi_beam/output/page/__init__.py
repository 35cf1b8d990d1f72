"""The report of a run: its figures, and one page that shows them beside the documents."""
