"""The rule-based stand-in for the model: what it finds is enough for samples and tests."""
