"""The journal: files that keep what was asked and answered for each document, so that nothing is paid for twice."""
