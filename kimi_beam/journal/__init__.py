"""What was paid for, so that it is not paid for again."""
