"""The model's batch queue as pure decisions, and the events that tell of finished jobs."""
