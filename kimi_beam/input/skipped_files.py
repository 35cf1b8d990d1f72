"""Counts and names the files that are passed over because they are of unknown kinds, in the runner's metrics."""

from __future__ import annotations

from apache_beam.metrics import Metrics

NAMESPACE = "kimi_beam"
SKIPPED_FILES = "skipped_files"
"""The name of the counter of such files."""
SKIPPED_NAMES = "skipped_names"
"""The name of the set of their paths. Beam keeps a million characters of it."""
_files = Metrics.counter(NAMESPACE, SKIPPED_FILES)
_names = Metrics.string_set(NAMESPACE, SKIPPED_NAMES)


def pass_over(path: str) -> None:
    """Counts and names a file that is passed over."""
    _files.inc()
    _names.add(path.encode("utf-8", "backslashreplace").decode())  # a name need not be in UTF-8
