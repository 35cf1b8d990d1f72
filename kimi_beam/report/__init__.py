"""What a run reports: metrics, progress, log lines, notices, and its summary."""
