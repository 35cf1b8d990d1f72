"""Bundles a schema file with the files that its ``$ref``s lead to, read from the same filesystem, never by HTTP."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from kimi_beam.errors import SchemaError
from kimi_beam.schema.lookalikes import empty_targets

BASE = "https://files.kimi-beam.invalid/"
"""The URI under which a schema's files are known, of a host that cannot exist (RFC 6761). Their real paths mean nothing
on another machine, and would make the schema's hash depend on the directory."""

_MOST = 1_000
_NAMES = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "schemas")
_VALUES = ("enum", "const", "default", "examples", "example")
_REFERENCES = ("$ref", "$dynamicRef")


def bundled(
    schema: Any, path: str, read: Callable[[str], Any], is_there: Callable[[str], bool], *, has_registry: bool
) -> tuple[Any, dict[str, Any]]:
    """Collects the files that a schema refers to, directly and through other files.

    Args:
        schema: The schema.
        path: The path of its file.
        read: Returns the JSON value of another file of the same filesystem, or raises `SchemaError`.
        is_there: Whether a file exists.
        has_registry: Whether a reference to a missing file may be found in the user's registry instead.

    Returns:
        The schema with a URI under `BASE` in place of each reference to a file (the same object if it has none), and
        the files by these URIs, rewritten in the same way.

    Raises:
        SchemaError: A file is missing or no JSON object, or there are more than 1,000.
    """
    waiting: dict[str, str] = {}
    files: dict[str, Any] = {}
    names: dict[str, str] = {}
    parts: dict[str, set[str]] = {}

    def in_file(document: Any, file: str) -> Any:
        ids = list(_ids(document))

        def target(reference: str) -> str:
            name, hash_, fragment = reference.partition("#")
            # If a part of this document has that URI as its `$id`, the reference means the part and not a file.
            if not name or any(one == name or one.endswith(f"/{name}") for one in ids):
                return reference
            beside = _file(name, file, ids[0] if ids else "")
            if beside is None:
                return reference
            if not is_there(beside):
                if has_registry or ids:
                    return reference
                raise SchemaError(f"the schema {file} refers to {name!r}, and there is no file {beside}")
            uri = BASE + _uri_path(beside, path)
            if uri not in files:
                waiting[uri] = beside
            parts.setdefault(beside, set()).add(f"#{unquote(fragment)}")
            return f"{uri}{hash_}{fragment}"

        return _rewritten(document, target, are_names=False)

    root = in_file(schema, path)
    while waiting:
        uri, file = waiting.popitem()
        if len(files) >= _MOST:
            raise SchemaError(f"the schema {path} refers to more than {_MOST} files")
        names[file] = uri
        files[uri] = document = read(file)
        if not isinstance(document, (dict, bool)):
            raise SchemaError(f"{file}, which the schema {path} refers to, is not a JSON object")
        files[uri] = in_file(document, file)
    for file, uri in names.items():
        for reason in empty_targets(files[uri], sorted(parts[file])):
            raise SchemaError(f"{file}, which the schema {path} refers to, is no usable JSON Schema: {reason}")
    return root, dict(sorted(files.items()))


def _file(name: str, file: str, own_id: str) -> str | None:
    """The file that a reference (without its fragment) names; None if it names no file."""
    parts = urlsplit(name)
    if parts.scheme == "file":
        return unquote(parts.path) if "://" not in file else None
    if parts.scheme or parts.netloc:
        # A schema with an `$id` may refer to the files next to it by URIs next to that `$id`.
        directory = own_id.rpartition("/")[0] + "/"
        return (
            _joined(file, unquote(name[len(directory) :])) if "://" in own_id and name.startswith(directory) else None
        )
    return _joined(file, unquote(parts.path))


def _joined(file: str, relative: str) -> str:
    scheme, separator, way = file.rpartition("://")
    return scheme + separator + posixpath.normpath(posixpath.join(posixpath.dirname(way), relative))


def _uri_path(file: str, root: str) -> str:
    """The path of a file relative to the root schema's directory, as a URI can hold it (without leading dots)."""
    start = posixpath.dirname(root.rpartition("://")[2]) or "."
    relative = posixpath.relpath(file.rpartition("://")[2], start)
    return "/".join("up" if part == ".." else quote(part) for part in relative.split("/"))


def _ids(document: Any) -> Iterator[str]:
    """The `$id`s of a document and of its parts, the document's own first."""
    waiting = [document]
    for one in waiting:  # it grows meanwhile
        if isinstance(one, dict):
            for keyword in ("$id", "id"):
                if isinstance(one.get(keyword), str):
                    yield one[keyword].rstrip("#")
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _rewritten(value: Any, target: Callable[[str], str], *, are_names: bool) -> Any:
    if isinstance(value, list):
        return [_rewritten(one, target, are_names=False) for one in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, one in value.items():
        if not are_names and key in _REFERENCES and isinstance(one, str):
            found[key] = target(one)
        elif not are_names and key in _VALUES:
            found[key] = one
        else:
            found[key] = _rewritten(one, target, are_names=not are_names and key in _NAMES)
    return found
