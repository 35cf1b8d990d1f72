"""Scores answers against gold, and compares the answers of two runs. Pure: nothing here reads a file or knows Beam."""
