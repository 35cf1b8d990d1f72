"""Rows and dead letters into files."""
