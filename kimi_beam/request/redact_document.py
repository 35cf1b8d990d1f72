"""Redacts a document before it is packed, so that nothing behind this step holds a value that was redacted.

Whatever leaves for the model or a file comes after it: requests, the journal, dead letters. The row gets the values
back where the answer is settled (`kimi_beam.results.restored_replies`).
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias

from kimi_beam.errors import ConfigError
from kimi_beam.request.sensitive_rules import KINDS, SensitiveRule, Span
from kimi_beam.results.restored_replies import shifted_layout
from kimi_beam.results.stand_ins import StandIns
from kimi_beam.schema import jsontext
from kimi_beam.types.document import Document, Redacted, Redaction
from kimi_beam.types.failure import Failure

Finder: TypeAlias = "Callable[[str], Iterable[Span]]"
"""Gives the places of sensitive values in a text: first character, the one behind the last, and a name of the kind."""
RedactImages = Literal["refuse", "allow"]
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,40}")


class _FinderError(Exception):
    """A finder failed. The message names no content."""


@dataclass(frozen=True)
class Redactor:
    """Redacts documents.

    Attributes:
        finders: What finds sensitive values. Where two find the same characters, the first goes first.
        images: Whether documents with pictures, which cannot be redacted, are sent all the same.
        keeps_originals: Whether dead letters hold documents as they came in, so that they can be run again.

    Raises:
        ConfigError: There is no finder, or `images` is something else.
    """

    finders: tuple[Finder, ...]
    images: RedactImages = "refuse"
    keeps_originals: bool = False

    def __post_init__(self) -> None:
        if not self.finders or not all(map(callable, self.finders)):
            raise ConfigError("redact: names of rules, or functions that take a text and give (start, end, kind)")
        if self.images not in ("refuse", "allow"):
            raise ConfigError(f"redact_images: {self.images!r:.40} is neither refuse nor allow")

    @classmethod
    def of(
        cls,
        redact: str | Finder | Sequence[str | Finder],
        images: RedactImages = "refuse",
        *,
        keeps_originals: bool = False,
    ) -> Redactor:
        """Takes what a user gives: the names of rules, a function, or a list of both.

        Raises:
            ConfigError: There is no such rule.
        """
        listed = redact.split(",") if isinstance(redact, str) else [redact] if callable(redact) else list(redact)
        finders = [_rule(one.strip()) if isinstance(one, str) else one for one in listed]
        rules = [one for one in finders if isinstance(one, SensitiveRule)]
        rules.sort(key=lambda rule: KINDS.index(rule.kind))
        return cls((*(one for one in finders if one not in rules), *rules), images, keeps_originals)

    def redact(self, document: Document) -> Document:
        """The document with stand-ins in the places of sensitive values; itself if it has none.

        A document that cannot be redacted has a failure instead, and nothing of what it held unless that is kept.
        """
        if document.redacted is not None:  # of a dead letter that goes round in the same pipeline
            return document
        if document.failure is not None and self.keeps_originals:  # it is not sent
            return document
        if document.failure is not None and document.failure.raw is not None:
            # The raw bytes of what could not be read are evidence that nobody can redact.
            document = replace(document, failure=replace(document.failure, raw=None))
        if document.images and self.images == "refuse":
            pictures = "it has pictures, which cannot be redacted; --redact-images allow sends them as they are"
            return self._refused(document, pictures)
        if not isinstance(document.text, str):
            return document  # it is refused before it is sent
        message = document.failure.message if document.failure is not None else ""
        try:
            stand_ins = StandIns(f"{document.text}\n{jsontext.dumps_any(document.metadata).decode()}\n{message}")
            text = self._redacted(document.text, stand_ins)
            metadata, beside = self._metadata(document.metadata, stand_ins)
            told = self._redacted(message, stand_ins)
        except _FinderError as e:
            return self._refused(document, str(e))
        found = (*text.redactions, *beside, *(replace(one, start=-1) for one in told.redactions))
        if not found:
            return document
        failure = replace(document.failure, message=told.text) if document.failure is not None else None
        return replace(
            document,
            text=text.text,
            metadata=metadata,
            failure=failure,
            layout=document.layout and shifted_layout(document.layout, text.redactions),
            redacted=Redacted(found, document.metadata),
        )

    def _refused(self, document: Document, reason: str) -> Document:
        """A document that cannot be redacted: with its failure, and without what it held unless that is kept."""
        if self.keeps_originals:
            return replace(document, failure=Failure("prompt", "unredactable", reason))
        failure = Failure("prompt", "unredactable", f"{reason}; what it held is left out here")
        return replace(document, text="", images=(), metadata={}, layout=None, failure=failure)

    def _redacted(self, text: str, stand_ins: StandIns) -> _Text:
        pieces: list[str] = []
        redactions: list[Redaction] = []
        position = length = 0
        for start, end, kind in self._spans(text):
            stand_in = stand_ins.of(kind, text[start:end])
            pieces += (text[position:start], stand_in)
            length += start - position
            redactions.append(Redaction(kind, text[start:end], stand_in, length))
            length += len(stand_in)
            position = end
        return _Text("".join((*pieces, text[position:])), tuple(redactions))

    def _metadata(
        self, metadata: Mapping[str, Any], stand_ins: StandIns
    ) -> tuple[Mapping[str, Any], tuple[Redaction, ...]]:
        found: list[Redaction] = []

        def of(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {key: of(one) for key, one in value.items()}
            if isinstance(value, (list, tuple)):
                return [of(one) for one in value]
            if value is None or isinstance(value, bool):
                return value
            written = str(value)
            redacted = self._redacted(written, stand_ins)
            found.extend(replace(one, start=-1) for one in redacted.redactions)
            return redacted.text if redacted.redactions else value

        return of(metadata), tuple(found)

    def places(self, text: str) -> list[Span]:
        """The places of a text that are redacted, in ascending order, none of which overlap.

        Raises:
            ConfigError: A function that finds values has failed. The message quotes nothing of the text.
        """
        try:
            return self._spans(text)
        except _FinderError as e:
            raise ConfigError(f"redact: {e}") from None

    def _spans(self, text: str) -> list[Span]:
        """The places that are redacted, in ascending order, none of which overlap."""
        taken: list[Span] = []
        for finder in self.finders if text else ():
            try:
                found = [_checked(span, text) for span in finder(text)]
            except _FinderError:
                raise
            except Exception as e:  # a user's function may raise anything; its message may quote the text
                raise _FinderError(f"the function that finds sensitive values raised {type(e).__name__}") from None
            taken = _joined(taken, found)
        return taken


class _Text(NamedTuple):
    """A redacted text."""

    text: str
    redactions: tuple[Redaction, ...]


def _rule(name: str) -> Finder:
    kind, _, region = name.partition(":")
    return SensitiveRule(kind, region)


def _checked(span: Any, text: str) -> Span:
    """A place that a finder has given.

    Raises:
        _FinderError: It is no place in the text.
    """
    try:
        start, end, kind = span
        is_place = type(start) is type(end) is int and 0 <= start < end <= len(text)
    except (TypeError, ValueError):
        is_place = False
    if not is_place or not isinstance(kind, str) or not _KIND.fullmatch(kind):
        wanted = "(start, end, kind), 0 <= start < end <= the text's length, the kind a word such as person"
        raise _FinderError(f"the function that finds sensitive values gave something else than {wanted}")
    return start, end, kind


def _joined(taken: list[Span], found: Iterable[Span]) -> list[Span]:
    """Places, and what others cover beside them, in ascending order."""
    joined = sorted(taken)
    for start, end, kind in sorted(found, key=lambda span: (span[0], -span[1])):
        position = start
        beside: list[Span] = []
        for other_start, other_end, _ in joined[max(0, bisect_left(joined, (position,)) - 1) :]:
            if other_start >= end:
                break
            if position < other_start:
                beside.append((position, other_start, kind))
            position = max(position, other_end)
        if position < end:
            beside.append((position, end, kind))
        for span in beside:
            insort(joined, span)
    return joined
