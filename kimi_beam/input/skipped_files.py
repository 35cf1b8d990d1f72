"""Counts and names the files that are passed over because they are of unknown kinds, in the runner's metrics."""

from __future__ import annotations

from apache_beam.metrics import Metrics

NAMESPACE = "kimi_beam"
SKIPPED_FILES = "skipped_files"
"""The name of the counter of such files."""
NAMES_NAMESPACE = "kimi_beam.skipped_files"
"""The namespace of counters whose names are the paths of such files. Beam has metrics that are sets of strings, but
FnApiRunner (2.77) keeps those of one bundle alone, and adds up counters."""
MOST_NAMES = 1_000
"""The most paths that a process names, because runners keep metrics in memory and send them again and again."""
_files = Metrics.counter(NAMESPACE, SKIPPED_FILES)
_named: set[str] = set()


def pass_over(path: str) -> None:
    """Counts and names a file that is passed over."""
    _files.inc()
    if path in _named or len(_named) < MOST_NAMES:
        _named.add(path)
        name = path.encode("utf-8", "backslashreplace").decode()  # a name need not be in UTF-8
        Metrics.counter(NAMES_NAMESPACE, name).inc()
