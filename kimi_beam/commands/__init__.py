"""The commands of ``kimi-beam``, a module each, and what they say on the terminal."""
