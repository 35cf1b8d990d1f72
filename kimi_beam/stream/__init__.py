"""Streams: reads unbounded input, writes it by event time, and audits what has become of it."""
