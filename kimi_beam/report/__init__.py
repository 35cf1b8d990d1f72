"""What a run says of itself: counters, progress, notices, its summary."""
