"""The way to the model by the batch queue: jobs, their state machine, events and the turns of shards."""
