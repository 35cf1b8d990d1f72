"""The ways in which models wrap an answer: in a member with a usual name, in a list of one, beside the schema.

A wrapping holds nothing but the answer, so that nothing is lost with it. Whether a value is a wrapping cannot be told
from it alone: that the schema refuses it, and takes exactly one of the values inside it, decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kimi_beam.results.mended_json import Path
from kimi_beam.schema import OutputSchema, jsontext

_NAMES = frozenset(
    {"answer", "answers", "arguments", "content", "data", "document", "extracted", "extracteddata", "extraction"}
    | {"finalanswer", "input", "instance", "items", "json", "object", "output", "parameters", "properties", "response"}
    | {"result", "results", "value", "values"}
)
"""What models call the member that holds the answer, without case, spaces and underscores."""
_DEPTH = 3


class Unwrapped(NamedTuple):
    """A value inside a wrapping."""

    value: Any
    path: Path
    """Where it stands in the answer."""


class Wrappings:
    """Finds what may be the answer inside a value that the schema refuses.

    Args:
        schema: The schema. A model may call the answer's member by the schema's name, and repeat the schema itself.
    """

    def __init__(self, schema: OutputSchema) -> None:
        sent, simple = (form["json_schema"] for form in (schema.response_format, schema.simple_response_format))
        self._schemas = [schema.json_schema, sent["schema"], simple["schema"]]
        self._echoed = [one for one in (*self._schemas, sent) if isinstance(one, Mapping)]
        title = schema.json_schema.get("title") if isinstance(schema.json_schema, Mapping) else None
        self._names = _NAMES | {_plain(name) for name in (schema.name, title) if isinstance(name, str)}

    def is_schema(self, value: Any) -> bool:
        """Whether a value is the schema itself, as it was sent or as the user wrote it."""
        return isinstance(value, dict) and any(jsontext.same(value, one) for one in self._schemas)

    def inside(self, value: Any) -> Iterator[Unwrapped]:
        """The values inside the wrappings around a value, the outermost first."""
        path: Path = ()
        for _ in range(_DEPTH):
            token = self._token(value)
            if token is None:
                return
            value, path = value[token], (*path, token)
            yield Unwrapped(value, path)

    def _token(self, value: Any) -> str | int | None:
        """The key or index of the only thing in a value that is not repeated from the request; None if it has more."""
        if isinstance(value, list):
            return 0 if len(value) == 1 else None
        if not isinstance(value, dict):
            return None
        told = [key for key, item in value.items() if not self._is_echo(key, item)]
        return told[0] if len(told) == 1 and _plain(told[0]) in self._names else None

    def _is_echo(self, key: str, item: Any) -> bool:
        return self.is_schema(item) or any(key in one and jsontext.same(item, one[key]) for one in self._echoed)


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()
