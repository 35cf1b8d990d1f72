"""A document as a request, and requests as a batch."""
