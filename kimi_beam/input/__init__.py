"""Reads documents from files and from dead letters. What cannot be read becomes a document that carries its failure."""
