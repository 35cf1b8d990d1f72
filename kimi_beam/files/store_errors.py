"""Errors of any filesystem or object store as one line that names the bucket."""

from __future__ import annotations

from typing import Any

from apache_beam.io.filesystem import BeamIOError

_LONGEST = 300


def in_one_line(path: str, error: BaseException) -> str:
    """Says in one line why a path cannot be used.

    Args:
        path: The path that was requested.
        error: The filesystem's exception. Beam wraps some exceptions of the stores' libraries and lets others through.
    """
    root, bucket, status = _root(error), _bucket(path), status_of(error)
    if not bucket or isinstance(root, OSError):
        return _line(error if isinstance(error, BeamIOError) and root is error else root)
    if status == 404:
        return f"{bucket} does not exist"
    if status in (401, 403):
        return f"{bucket} refuses access ({status}): its credentials must allow to list, read, write and delete"
    return f"{bucket} cannot be used: {_line(root)}"


def _root(error: BaseException) -> BaseException:
    """The error that Beam has wrapped, perhaps several times."""
    details = getattr(error, "exception_details", None) if isinstance(error, BeamIOError) else None
    for inner in details.values() if isinstance(details, dict) else ():
        if isinstance(inner, BaseException):
            return _root(inner)
    return error


def status_of(error: BaseException) -> int | None:
    """The HTTP status in an error of Google's or Azure's libraries, even if Beam has wrapped it; None without one."""
    root = _root(error)
    holders: tuple[Any, ...] = (root, getattr(root, "response", None))
    found = [getattr(holder, name, None) for holder in holders for name in ("status_code", "code")]
    return next((int(status) for status in found if isinstance(status, int)), None)


def _bucket(path: str) -> str:
    scheme, separator, rest = path.partition("://")
    if not separator:
        return ""
    # Azure's paths begin with the account, then the container.
    names = rest.split("/")[: 2 if scheme == "azfs" else 1]
    return f"the {'container' if scheme == 'azfs' else 'bucket'} {scheme}://{'/'.join(names)}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:_LONGEST] or type(error).__name__
