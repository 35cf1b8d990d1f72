"""How long a test waits for what should come."""

HANGS = 600.0
"""Seconds after which a test takes what it waits for to hang.

It guards against waiting for ever and nothing else, so it is far beyond what the busiest machine takes.
"""
