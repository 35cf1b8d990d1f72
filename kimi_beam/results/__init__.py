"""Where good and bad part, and how each looks."""
