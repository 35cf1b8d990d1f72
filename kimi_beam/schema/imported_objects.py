"""Imports what a user names as ``module:name``: a class, or a function that each worker imports for itself."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

from kimi_beam.errors import ConfigError

IMPORT_FROM = "KIMI_BEAM_IMPORT_FROM"
"""The environment variable with the directory in which a ``module:name`` is looked for last. The command line sets it,
and worker processes on the same machine inherit it."""


def import_object(reference: str) -> Any:
    """Imports what a ``module:name`` names, if need be from the directory that `IMPORT_FROM` names.

    Raises:
        Exception: It cannot be imported; a user's module may raise anything.
    """
    module_name, _, names = reference.partition(":")
    directory = os.environ.get(IMPORT_FROM)
    if directory and directory not in sys.path:
        sys.path.append(directory)  # it stays there, because a module may import its neighbours when it is used
    module = import_module(module_name)
    found: Any = module
    for name in names.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            where = getattr(module, "__file__", None) or "it is built into Python"
            raise AttributeError(f"{found.__name__} has no {name} ({where})") from None
    return found


def check_function(reference: str, option: str, takes: str) -> None:
    """Imports a user's function before anything is read.

    Args:
        reference: ``module:function``.
        option: The option that names it, such as ``--reader``.
        takes: What it is a function of, in words.

    Raises:
        ConfigError: It cannot be imported, or is no function.
    """
    try:
        found = import_object(reference)
    except Exception as e:  # a user's module may raise anything while it is imported
        reason = " ".join(str(e).split())[:200]
        raise ConfigError(f"{option}: cannot import {reference}: {type(e).__name__}: {reason}") from None
    if not callable(found):
        raise ConfigError(f"{option}: {reference} is no function of {takes}")
