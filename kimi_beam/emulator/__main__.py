"""``python -m kimi_beam.emulator``: Workers AI for Kimi on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys

from kimi_beam.emulator.command import add_arguments, run


def main() -> int:
    """Parse the command line and serve; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m kimi_beam.emulator",
        description="Workers AI for Kimi on this machine: a rule-based stand-in, not a model. Prints its base URL.",
    )
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
