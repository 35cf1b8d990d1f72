"""Readers make a `Content` of the bytes of one whole file. They are pure functions, without Beam and network."""
