"""What a run would cost, before anything is sent: a sample of its documents, counted as the model would be asked."""
