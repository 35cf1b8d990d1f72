"""Loads a JSON Schema from a dict, a file, a pydantic model, a dataclass, a TypedDict or a ``module:Class``."""

from __future__ import annotations

import builtins
import codecs
import copy
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, get_origin

import jsonschema_rs

from kimi_beam.errors import SchemaError
from kimi_beam.schema import jsontext, lookalikes, referenced_files
from kimi_beam.schema.imported_objects import import_object
from kimi_beam.schema.references import RegistrySource

Definition: TypeAlias = "dict[str, Any] | bool"

_MODULE_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_FETCHES = 1_000
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is the beginning of this one
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def definition(source: Any) -> tuple[Definition, type | None]:
    """Loads the JSON Schema of a source.

    Returns:
        The schema, and the class that it was made of; None if the source was no class.

    Raises:
        SchemaError: It cannot be read, or is no schema, so that any answer would be valid under it.
    """
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        found, named = _load(path), f"{path} is no usable JSON Schema"
    else:
        found, named = source, "this is no usable JSON Schema"
        if get_origin(found) is not None:
            told = f"{line(str(found), 100)} names no class of its own"
            raise SchemaError(f"{told}: give a pydantic model, of which it may be a field")
        if not isinstance(found, (dict, bool, type)):
            raise SchemaError(f"a JSON Schema is an object, true or false, not {type(found).__name__}")
    if isinstance(found, type):
        return _of_class(found), found
    reason = lookalikes.refusal(found)
    if reason is not None:
        raise SchemaError(f"{named}: {reason}")
    return found, None


def with_files(source: Any, schema: Definition, *, has_registry: bool) -> tuple[Definition, dict[str, Any]]:
    """Bundles a schema that was read from a file with the files that it refers to.

    Returns:
        The schema with URIs in place of references to files, and these files by URI.

    Raises:
        SchemaError: A file is missing, or cannot be read.
    """
    if not isinstance(source, (str, os.PathLike)) or b'ef"' not in jsontext.dumps_any(schema):
        return schema, {}
    return referenced_files.bundled(schema, os.fspath(source), _json, _is_there, has_registry=has_registry)


def line(text: str, most: int) -> str:
    """The text as one line of at most this many characters."""
    found = " ".join(text[: 4 * most].split())
    return found if len(found) <= most else f"{found[: most - 1]}…"


# ------------------------------------------------------------------------------------------------ files and names


def is_class_reference(reference: str) -> bool:
    """Whether a text names a class as ``module:Class``, and not a file."""
    return bool(_MODULE_CLASS.fullmatch(reference)) and not Path(reference).exists()


def _load(reference: str) -> Any:
    """The JSON value of a file, or the class of a ``module:Class``."""
    if is_class_reference(reference):
        return import_class(reference)
    return _json(reference)


def _json(reference: str) -> Any:
    try:
        text = _read(reference)
    except Exception as e:  # a remote filesystem may raise anything, such as an AssertionError for a missing extra
        reason = e.strerror if isinstance(e, OSError) and e.strerror else line(str(e), 300)
        raise SchemaError(f"cannot read the schema {reference!r}: {reason}") from None
    try:
        return jsontext.loads(_utf8(text))
    except ValueError as e:
        raise SchemaError(f"the schema {reference} is not JSON: {e}") from None


def _utf8(text: bytes) -> bytes:
    """Converts a text to UTF-8 without its byte order mark. Windows' editors write one, and PowerShell 5 writes UTF-16.

    Raises:
        ValueError: The text begins with the mark of UTF-16 or UTF-32 but is not in this encoding.
    """
    for mark, encoding in _MARKS:
        if text.startswith(mark):
            return text[len(mark) :].decode(encoding).encode()
    return text


def _is_there(path: str) -> bool:
    if "://" not in path:
        return _local(path).is_file()
    from kimi_beam.files.filesystems import FileSystems

    try:
        return bool(FileSystems.exists(path))
    except Exception:  # a remote filesystem may raise anything; reading the file will report it
        return True


def import_class(reference: str) -> type:
    """Imports the class of a ``module:Class``, if need be from the directory that `imported_objects.IMPORT_FROM` names.

    Raises:
        SchemaError: It cannot be imported, or has no JSON Schema.
    """
    if reference.endswith("]"):
        return _import_generic(reference)
    try:
        found = import_object(reference)
    except Exception as e:  # a user's module may raise anything while it is imported
        raise SchemaError(f"cannot import the schema {reference}: {type(e).__name__}: {line(str(e), 200)}") from None
    from kimi_beam.schema import classes

    if not isinstance(found, type) or not classes.has_schema(found):
        raise SchemaError(f"{reference} is no pydantic model, dataclass or TypedDict")
    return found


def reference_to(found: type) -> str:
    """The reference by which a class is imported: ``module:Class``; ``module:Page[other:Item]`` for a generic model."""
    made_of = getattr(found, "__pydantic_generic_metadata__", None) or {}
    origin, arguments = made_of.get("origin"), made_of.get("args") or ()
    if origin is None or not all(isinstance(one, type) and get_origin(one) is None for one in arguments):
        return f"{found.__module__}:{found.__qualname__}"
    return f"{reference_to(origin)}[{','.join(map(reference_to, arguments))}]"


def _import_generic(reference: str) -> type:
    origin, _, rest = reference.partition("[")
    arguments: list[str] = [""]
    depth = 0
    for letter in rest[:-1]:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            arguments.append("")
        else:
            arguments[-1] += letter
    found = import_class(origin)
    classes = tuple(_import_argument(one) for one in arguments)
    made: type = found[classes]  # type: ignore[index]
    return made


def _import_argument(reference: str) -> type:
    module, _, name = reference.partition(":")
    if module == "builtins" and isinstance(found := getattr(builtins, name, None), type):
        return found
    return import_class(reference)


def _local(path: str) -> Path:
    """A path on this machine with ``~`` expanded, as a shell does not do that in quotes or after an equals sign."""
    found = Path(path)
    return found.expanduser() if path.startswith("~/") and not os.path.lexists(path) else found


def _read(path: str) -> bytes:
    if "://" not in path:
        return _local(path).read_bytes()
    # Imported here, because only a schema on a remote filesystem needs Beam.
    from kimi_beam.files.filesystems import FileSystems

    with FileSystems.open(path) as f:
        content: bytes = f.read()
        return content


# ------------------------------------------------------------------------------------------------ classes


def _of_class(found: type) -> dict[str, Any]:
    from kimi_beam.schema import classes

    if not classes.has_schema(found):
        raise SchemaError(f"{found.__name__} is no pydantic model, dataclass or TypedDict")
    try:
        return classes.json_schema(found)
    except ValueError as e:
        raise SchemaError(f"{found.__name__} has no JSON Schema: {line(str(e), 300)}") from None


# ------------------------------------------------------------------------------------------------ registries


def documents(schema: Definition, files: Mapping[str, Any], registry: RegistrySource | None) -> dict[str, Any]:
    """The other schemas that a schema may refer to, by URI.

    Args:
        schema: The schema.
        files: The files that it refers to, by URI.
        registry: Schemas by URI, or a function that fetches the schema of a URI; None: no other schemas. The function
            is called here, while the pipeline is built, and never on a worker.

    Raises:
        SchemaError: The registry has another type, or the function failed.
    """
    if registry is None:
        return dict(files)
    if callable(registry) and not isinstance(registry, Mapping):
        return {**files, **_fetched(schema, files, registry)}
    try:
        pairs: Iterable[Any] = registry.items() if isinstance(registry, Mapping) else registry
        found = {str(uri): getattr(document, "contents", document) for uri, document in pairs}
    except (TypeError, ValueError):
        raise SchemaError("a registry is a mapping of URIs to schemas, or a function that fetches one") from None
    for uri, document in found.items():
        if not isinstance(document, (dict, bool)):
            raise SchemaError(f"the registry's {uri} is no JSON Schema")
    return {**files, **found}


def _fetched(schema: Definition, files: Mapping[str, Any], fetch: Callable[[str], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def retrieve(uri: str) -> Any:
        if uri in files:
            return files[uri]
        if len(found) >= _FETCHES:
            raise SchemaError(f"more than {_FETCHES} schemas are referred to")
        found[uri] = fetch(uri)
        return found[uri]

    try:
        jsonschema_rs.validator_for(schema, retriever=retrieve)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, TypeError) as e:
        raise SchemaError(f"not a usable JSON Schema: {line(str(e), 300)}") from None
    return found


def copied(schema: Definition) -> Definition:
    """A copy of a schema.

    Raises:
        SchemaError: It is nested too deep.
    """
    try:
        return copy.deepcopy(schema)
    except RecursionError:
        raise SchemaError("the schema is nested too deep") from None
