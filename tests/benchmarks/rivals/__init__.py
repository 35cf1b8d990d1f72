"""What users would pick instead, each in an environment of its own, which is made when it is first needed.

A rival is a script, ``ask_NAME.py``, and its pinned requirements, ``NAME.txt``. The scripts import nothing of the
project.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

_HERE = Path(__file__).parent
NAMES = {
    "curator": "curator batch",
    "langextract": "langextract batch",
    "runinference": "Beam RunInference",
    "instructor": "instructor",
}


def script(name: str) -> Path:
    """The program."""
    return _HERE / f"ask_{name}.py"


def python(name: str) -> Path:
    """The interpreter of a rival's environment; the environment is made where it is not there yet."""
    requirements = _HERE / f"{name}.txt"
    mark = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    where = _cache() / "rivals" / f"{name}-{mark}"
    if not where.is_dir():
        where.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=where.parent))
        try:
            subprocess.run([sys.executable, "-m", "venv", aside], check=True)
            pip = (aside / "bin" / "python", "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            subprocess.run([*pip, "-r", requirements], check=True)
            aside.rename(where)  # what stands under its name is whole; it is used by `bin/python` alone
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return where / "bin" / "python"


def versions(name: str) -> dict[str, str]:
    """The versions of what its requirements name."""
    wanted = [line.partition("==")[0].partition("[")[0] for line in (_HERE / f"{name}.txt").read_text().split()]
    packages = python(name).parent.parent.glob("lib/python3*/site-packages")
    found = {d.metadata["Name"].lower(): d.version for d in distributions(path=[str(path) for path in packages])}
    return {package: found[package.lower()] for package in wanted}


def _cache() -> Path:
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kimi_beam"
    return Path(os.environ.get("KIMI_BEAM_CACHE") or default).absolute()
