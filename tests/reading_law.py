"""The law of hostile files: whatever a file holds, it is read or refused, in time and in bounded memory."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mutated_files import GOOD

from kimi_beam.input import reading_process
from kimi_beam.input.kinds import kind_by_name
from kimi_beam.input.readers.content import DEFAULT_OPTIONS, UnreadableError
from kimi_beam.input.reading_process import DEFAULT_LIMITS, read_in_child

MOST_BYTES = 400 << 20
_ON_A_BUSY_MACHINE = 15.0
"""Seconds beyond the limit of a file that a process takes to end and another one to start."""
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def readers() -> list[str]:
    """The suffixes of the good files that are read in a process of their own."""
    return [suffix for suffix in GOOD if (kind := kind_by_name(f"a{suffix}")) is not None and kind.reader is not None]


def check_that_each_is_read_or_refused(suffix: str, files: Iterable[bytes]) -> Counter[str]:
    """Reads files, and asserts the law of each.

    Returns:
        How many were read, and how many were refused by each code.
    """
    kind = kind_by_name(f"a{suffix}")
    assert kind is not None
    assert kind.reader is not None
    outcomes: Counter[str] = Counter()
    for number, content in enumerate(files):
        begun = time.monotonic()
        try:
            read_in_child(kind.reader, content, DEFAULT_OPTIONS)
            outcome, reason = "read", "it is read"
        except UnreadableError as e:
            outcome, reason = e.code, e.message
        outcomes[outcome] += 1
        assert len(reason.splitlines()) == 1, f"file {number} of {suffix}: {reason!r}"
        assert outcome != "reader_failed", f"the reader has a bug: file {number} of {suffix} {reason}"
        assert time.monotonic() - begun < DEFAULT_LIMITS.seconds + _ON_A_BUSY_MACHINE, f"file {number} of {suffix}"
        assert peak_bytes() < MOST_BYTES, f"file {number} of {suffix}"
    return outcomes


def peak_bytes() -> int:
    """The most memory that any of the living processes has ever held; 0 where the system does not say."""
    peaks = [0]
    for process in reading_process.living():
        try:
            found = _PEAK.search(Path(f"/proc/{process}/status").read_text())
        except OSError:
            continue
        peaks += [int(found[1]) * 1024] if found else []
    return max(peaks)
