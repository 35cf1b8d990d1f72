"""From documents to requests: checks, the prompt, the bytes of a request, and batches of them."""
