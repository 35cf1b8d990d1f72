"""One request a document, many at once."""
