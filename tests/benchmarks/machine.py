"""Where figures were measured: processor, system, versions, commit, date."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

_LIBRARIES = ("apache-beam", "aiohttp", "httpx", "httpx-aiohttp", "jsonschema-rs", "orjson", "pyarrow")


def described() -> dict[str, str]:
    """What to write beside figures."""
    root = Path(__file__).parents[2]
    git = ("git", "-C", str(root), "rev-parse", "--short", "HEAD")
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return {
        "machine": f"{_processor()}, {cores} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}",
        "versions": f"Python {platform.python_version()}, {libraries}",
        "commit": commit or "unknown",
        "load": f"{load():.1f}",
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def load() -> float:
    """How many processes wanted to run in the last minute: more than there are cores, and times are too long."""
    return os.getloadavg()[0]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
