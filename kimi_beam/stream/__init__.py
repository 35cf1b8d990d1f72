"""What only input without an end needs."""
