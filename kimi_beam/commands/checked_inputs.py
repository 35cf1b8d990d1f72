"""Checks the inputs of a command before anything is read, and names those that will be passed over."""

from __future__ import annotations

from collections.abc import Sequence

from kimi_beam.commands import console
from kimi_beam.input.check_input import check_input, enumerate_paths, unknown_files
from kimi_beam.input.fields import Reading
from kimi_beam.input.finding import find_inputs

_NAMED_FILES = 50
"""How many of the files that are passed over are named on stderr. The summary of a run names more."""


def checked_inputs(inputs: Sequence[str], reading: Reading) -> tuple[str, ...]:
    """The patterns of the inputs. Says which of their files will be passed over, as far as that is known by now.

    Args:
        inputs: The inputs.
        reading: How files become documents.

    Raises:
        InputError: An input is refused.
    """
    patterns = check_input(inputs, reading)
    if reading.skip_unknown and (unknown := unknown_files(find_inputs(patterns), reading)):
        files = "file of a kind" if len(unknown) == 1 else "files of kinds"
        console.say(f"passes over {len(unknown)} {files} that cannot be read: {enumerate_paths(unknown, _NAMED_FILES)}")
    return patterns
