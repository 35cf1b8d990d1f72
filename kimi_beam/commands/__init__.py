"""The commands of ``kimi-beam``, one module for each, their options, and their output on the terminal."""
