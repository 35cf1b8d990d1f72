"""Turns replies into rows and dead letters: parses and validates answers, and builds the rows and the JSON lines."""
