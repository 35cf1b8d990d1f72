"""Writes rows and dead letters to files: once at the end for bounded input, file by file for streams."""
