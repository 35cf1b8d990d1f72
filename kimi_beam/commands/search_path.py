"""Where modules are looked for: not in the working directory, unless the user names a class that may lie there.

The working directory is where documents lie, and those may come from anybody. A module there must never take the place
of one that is installed, for it would run with the token in its environment.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import kimi_beam
from kimi_beam.schema.source import IMPORT_FROM, is_class_reference

_SAFE_PATH = "PYTHONSAFEPATH"


@contextlib.contextmanager
def for_schemas(*sources: str) -> Iterator[None]:
    """Has a ``module:Class`` found in the working directory too, after everything that is installed.

    Worker processes that are started meanwhile inherit the same: Beam starts them by ``python -m``, which would put
    the working directory first. Python 3.10 has no way to forbid that.

    Args:
        sources: What stands for schemas on the command line. A file's name changes nothing.
    """
    path = list(sys.path)
    environment = {name: os.environ.get(name) for name in (IMPORT_FROM, _SAFE_PATH)}
    directory = os.getcwd()  # noqa: PTH109
    if Path(kimi_beam.__file__).resolve().parent.parent != Path(directory).resolve():
        # In a checkout that is not installed, the workers find this very package in the working directory.
        os.environ[_SAFE_PATH] = "1"
    if any(is_class_reference(source) for source in sources):
        os.environ[IMPORT_FROM] = directory
    try:
        yield
    finally:
        sys.path[:] = path
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
