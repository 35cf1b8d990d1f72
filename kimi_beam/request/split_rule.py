"""When a document is asked for in parts, and how large these may be.

A document is split where the user says so, and where it could not be answered whole: it exceeds the model's window, the
bytes of a batch, or what an answer may hold, by the rows that its text shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kimi_beam.errors import ConfigError
from kimi_beam.request.context_window import about_tokens, least_tokens
from kimi_beam.request.splitting import Limits, picture_tokens
from kimi_beam.results.shown_rows import is_row
from kimi_beam.wire.size_limits import HARD_MAX_BYTES

LEAST_CHUNK = 200
"""The smallest size of parts that a user may choose, in tokens: the context beside a part takes some 400."""
_SHARE_OF_ANSWER = 0.7
"""How much of the bound of an answer the rows of a part may take by the estimate."""
_SHARE_OF_WINDOW = 0.5
"""How much of the room in the window a part may take, because tokens are estimated."""
_SHARE_OF_BATCH = 0.25
_LEAST_ROW = 6
"""Bytes that the smallest row takes: two numbers, and something between them."""
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class SplitRule:
    """When documents are split.

    Attributes:
        chunk_tokens: The most tokens of a part that the user wants. None: documents are split only where they must be.
        room: The most tokens of the window that a document may take; None if the window is not known.
        answer_limit: The most tokens of an answer.
        item_tokens: Tokens that an item of an answer takes beside its values; None if the schema has no list of
            objects.
        grows: Whether a longer text may have a longer answer: the schema has a list or a map.
    """

    chunk_tokens: int | None
    room: int | None
    answer_limit: int
    item_tokens: int | None
    grows: bool = True

    def __post_init__(self) -> None:
        if self.chunk_tokens is not None and self.chunk_tokens < LEAST_CHUNK:
            raise ConfigError(f"Extract: chunk_tokens is at least {LEAST_CHUNK}")

    @property
    def least_rows(self) -> int | None:
        """So many lines at least has a text whose answer may be too large; None if no text has such an answer."""
        if self.item_tokens is None:
            return None
        return int(self.answer_limit / (self.item_tokens + _LEAST_ROW)) + 1

    @property
    def whole_bytes(self) -> int | None:
        """A text of so many bytes is never larger than the user wants a part to be; None if all texts may be."""
        return None if self.chunk_tokens is None else self.chunk_tokens * 3 // 4

    def may_have_many_rows(self, inner: bytes) -> bool:
        """Whether a text may have more rows than an answer holds, at a glance.

        Args:
            inner: The text as JSON.
        """
        least = self.least_rows
        return least is not None and len(inner) >= least * _LEAST_ROW and inner.count(b"\\n") + 1 >= least

    def limits(self, text: str, size: int, pictures: int = 0) -> Limits | None:
        """The most that a part of a document may hold; None if the document is asked for whole.

        Args:
            text: The text of the document.
            size: The bytes of its request.
            pictures: How many pictures it has.
        """
        chunk, room, answer = self.chunk_tokens, self.room, self._answer_tokens(text)
        is_beyond = (
            size > HARD_MAX_BYTES
            or answer > self.answer_limit
            or (chunk is not None and self._is_above(chunk, text, pictures, about_tokens, len(text) * 4 // 3 + 1))
            or (room is not None and self._is_above(room, text, pictures, least_tokens, len(text)))
        )
        if not is_beyond:
            return None
        limits = self.widest
        if answer <= self.answer_limit:
            return limits
        most = int(about_tokens(text) * _SHARE_OF_ANSWER * self.answer_limit / answer)
        return limits._replace(tokens=max(1, min(limits.tokens, most)))

    def _is_above(self, most: int, text: str, pictures: int, count: Callable[[str], int], bound: int) -> bool:
        """Whether text and pictures are more than so many tokens.

        Args:
            most: So many tokens.
            text: The text.
            pictures: How many pictures there are.
            count: Counts the tokens of the text, which takes milliseconds for a long one.
            bound: A number that the count does not exceed, by which most texts are told.
        """
        of_pictures = pictures * picture_tokens(most)
        return of_pictures > most or (bound + of_pictures > most and count(text) + of_pictures > most)

    @property
    def widest(self) -> Limits:
        """The most that any part may hold."""
        most = [size for size in (self.chunk_tokens, self.room and int(self.room * _SHARE_OF_WINDOW)) if size]
        return Limits(max(1, min(most, default=HARD_MAX_BYTES)), int(HARD_MAX_BYTES * _SHARE_OF_BATCH))

    def _answer_tokens(self, text: str) -> int:
        """About the tokens that the rows of a text take in an answer; 0 if these are certainly few."""
        least = self.least_rows
        if self.item_tokens is None or least is None or text.count("\n") + 1 < least:
            return 0
        rows = [line for line in text.splitlines() if is_row(line)]
        return 0 if len(rows) < least else sum(self.item_tokens + about_tokens(row) for row in rows)


def item_tokens(schema: Any) -> int | None:
    """Tokens that the names of an item's members take, of the widest list of objects in a schema; None without one.

    Args:
        schema: The schema as it is sent, which has no references.
    """
    return max(_widths(schema, _DEPTH), default=None)


def may_grow(schema: Any, depth: int = _DEPTH) -> bool:
    """Whether longer texts may have longer answers: a schema has a list, a map, or a place for anything.

    Args:
        schema: The schema as it is sent, which has no references.
        depth: So deep it is looked into; what is deeper may grow.
    """
    if not isinstance(schema, Mapping) or depth == 0:
        return True
    if "enum" in schema or "const" in schema:
        return False
    if branches := schema.get("anyOf"):
        return any(may_grow(branch, depth - 1) for branch in branches)
    if schema.get("type") != "object":
        return schema.get("type") not in ("string", "number", "integer", "boolean", "null")
    members, others = schema.get("properties"), schema.get("additionalProperties", False)
    return not members or others is not False or any(may_grow(member, depth - 1) for member in members.values())


def _widths(schema: Any, depth: int) -> Iterator[int]:
    if not isinstance(schema, Mapping) or depth == 0:
        return
    for branch in schema.get("anyOf") or ():
        yield from _widths(branch, depth - 1)
    for member in (schema.get("properties") or {}).values():
        yield from _widths(member, depth - 1)
    items = schema.get("items")
    if isinstance(items, Mapping):
        branches = [items, *(branch for branch in items.get("anyOf") or () if isinstance(branch, Mapping))]
        yield from (
            sum(len(str(name)) // 3 + 3 for name in branch["properties"])
            for branch in branches
            if branch.get("properties")
        )
        yield from _widths(items, depth - 1)
