"""The HTTP client of the service, and how fast it may send requests."""
