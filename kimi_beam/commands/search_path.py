"""The module search path: without the working directory, unless the user names a class that may be there.

Documents are in the working directory, and they may come from anybody. A module there must never be imported in place
of an installed one, because it would run with the token in its environment.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import kimi_beam
from kimi_beam.schema.imported_objects import IMPORT_FROM
from kimi_beam.schema.source import is_class_reference

_SAFE_PATH = "PYTHONSAFEPATH"


@contextlib.contextmanager
def for_references(*sources: str) -> Iterator[None]:
    """Lets a ``module:name`` be found in the working directory too, after all installed modules.

    Worker processes that start meanwhile inherit this. Beam starts them by ``python -m``, which puts the working
    directory first, and Python 3.10 has no way to forbid that.

    Args:
        sources: The schemas and readers on the command line. Only a ``module:name`` among them changes the search path.
    """
    path = list(sys.path)
    environment = {name: os.environ.get(name) for name in (IMPORT_FROM, _SAFE_PATH)}
    directory = os.getcwd()  # noqa: PTH109
    if Path(kimi_beam.__file__).resolve().parent.parent != Path(directory).resolve():
        # Not in a checkout that is not installed, because there the workers find this package in the working directory.
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
