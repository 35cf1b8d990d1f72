"""``python -m kimi_beam``: the command line, where its program ``kimi-beam`` is not on the path."""

from __future__ import annotations

import sys

from kimi_beam.cli import program

if __name__ == "__main__":
    sys.exit(program())
