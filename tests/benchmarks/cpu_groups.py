"""Groups of processes with a part of a core each: several machines on one, where CPU is what limits each of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000
"""Microseconds."""


class NoGroupsError(Exception):
    """This machine's kernel or user has no such groups."""


@contextlib.contextmanager
def cpu_groups(names: Iterable[str], cpus: float) -> Iterator[dict[str, Path]]:
    """Makes groups, and removes them at the end.

    Args:
        names: Of the groups.
        cpus: Cores that each may use.

    Yields:
        For each name the file that a process joins the group by, writing its number there.

    Raises:
        NoGroupsError: They cannot be made here.
    """
    parent = (_ROOT / "cpu" if (_ROOT / "cpu").is_dir() else _ROOT) / "kimi_beam-benchmark"
    quota = int(cpus * _PERIOD)
    made: list[Path] = []
    try:
        try:
            parent.mkdir(exist_ok=True)
            made.append(parent)
            if (parent / "cgroup.subtree_control").exists():  # version 2
                (parent / "cgroup.subtree_control").write_text("+cpu")
            for name in names:
                group = parent / name
                group.mkdir(exist_ok=True)
                made.append(group)
                if (group / "cpu.max").exists():
                    (group / "cpu.max").write_text(f"{quota} {_PERIOD}")
                else:
                    (group / "cpu.cfs_quota_us").write_text(str(quota))
        except OSError as e:
            raise NoGroupsError(f"no groups of processes with a part of a core: {e}") from None
        yield {group.name: group / "cgroup.procs" for group in made[1:]}
    finally:
        for group in reversed(made):
            _remove(group)


def _remove(group: Path) -> None:
    for _ in range(100):  # what was killed just now is still there
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.1)
