"""One document as a page shows it: its values with their places and doubts, or why it has none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kimi_beam.output.page.field_figures import field_of, flat
from kimi_beam.schema import jsontext

_LONGEST_VALUE = 20_000
_LONGEST_RAW = 20_000
_MOST_VALUES = 5_000
_WORTH_SHOWING = 0.1
"""A value that is wrong with a smaller probability is marked by nothing."""


class Doubt(NamedTuple):
    """How likely a value is wrong, and why (`kimi_beam.output.review_queue.ReviewLine`)."""

    pointer: str
    expected_errors: float
    signals: Sequence[str]


class Error(NamedTuple):
    """A value that is wrong by the gold."""

    pointer: str
    kind: str
    gold: Any


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row.

    Attributes:
        document_id: The id of its document.
        answer: Its answer.
        metadata: The metadata of its document.
        beside: Its columns ``_provenance`` and, perhaps, ``_grounding``.
        places: Every place of the answer at which the schema expects a single value, by pointer.
        doubts: What is doubtful about its values.
        errors: What is wrong by the gold; None if it has no gold.
    """

    document_id: str
    answer: Any
    metadata: Mapping[str, Any]
    beside: Mapping[str, Any]
    places: Sequence[str]
    doubts: Sequence[Doubt]
    errors: Sequence[Error] | None

    @property
    def source(self) -> str:
        """The path of its document; empty if it was read from no file."""
        source: str = self.beside["_provenance"].get("source") or ""
        return source

    @property
    def expected_errors(self) -> float:
        """How many of its values are expected to be wrong."""
        return sum(one.expected_errors for one in self.doubts)

    def to_json(self, position: int) -> dict[str, Any]:
        """The row as the page takes it.

        Args:
            position: The position of the document in the output.
        """
        provenance = self.beside["_provenance"]
        at = provenance["extracted_at"]
        return {
            "position": position,
            "id": self.document_id,
            "outcome": "",
            "values": list(self._values()),
            "doubt": round(self.expected_errors, 3),
            "metadata": shown(self.metadata) if self.metadata else "",
            "source": self.source,
            "tokens": [provenance[name] for name in ("prompt_tokens", "cached_tokens", "completion_tokens")],
            "model": provenance["model_answered"] or provenance["model_asked"],
            "at": None if at is None else at.isoformat(timespec="seconds"),
            "attempts": provenance["attempts"],
            "notes": list(self._notes(provenance)),
            "errors": None if self.errors is None else len(self.errors),
        }

    def _values(self) -> Iterable[list[Any]]:
        """``[pointer, kind, text, match, start, end, page, candidates, expected errors, signals, error, gold]``.

        What is None at the end is left out. A kind is a letter: s string, n number, b boolean, o null, e empty list or
        object, and m for a place that has no value.
        """
        grounding = {one["path"]: one for one in self.beside.get("_grounding") or ()}
        doubts = {one.pointer: one for one in self.doubts if one.expected_errors >= _WORTH_SHOWING}
        errors = {one.pointer: one for one in self.errors or ()}
        found = [(at, *kind_and_text(value)) for at, value in flat(self.answer)]
        known = {at for at, *_ in found}
        missing = [at for at in (*self.places, *errors) if at not in known]
        found += [(at, "m", "") for at in dict.fromkeys(missing)]
        if "" in doubts and not any(at == "" for at, *_ in found):
            found.append(("", "m", ""))
        for at, kind, text in found[:_MOST_VALUES]:
            place, doubt, error = grounding.get(at), doubts.get(at), errors.get(at)
            value: list[Any] = [at, kind, text]
            value += [place[name] if place else None for name in ("match", "start", "end", "page", "candidates")]
            value += [doubt.expected_errors, list(doubt.signals)] if doubt else [None, None]
            value += [error.kind, shown(error.gold)] if error else [None, None]
            while value[-1] is None:
                value.pop()
            yield value

    def _notes(self, provenance: Mapping[str, Any]) -> Iterable[str]:
        if (values := sum(1 for _ in flat(self.answer))) > _MOST_VALUES:
            yield f"The first {_MOST_VALUES:,} of its {values:,} values."
        if provenance.get("incomplete"):
            yield f"May be incomplete: {provenance['incomplete']}"
        if provenance.get("parts"):
            yield f"Asked for in {provenance['parts']} parts"
        for one in jsontext.loads(provenance.get("conflicts") or "[]"):
            yield f"Two parts differ at {one.get('at')}"
        for one in provenance.get("repairs") or ():
            times = f", {one['count']} times" if one["count"] > 1 else ""
            yield f"Repaired: {one['kind'].replace('_', ' ')} {one['path'] or ''}{times}".rstrip()


def letter_to_json(letter: Mapping[str, Any], position: int) -> dict[str, Any]:
    """A dead letter as the page takes it.

    Args:
        letter: Its line.
        position: The position of the document in the output.
    """
    raw, usage, document = letter["raw"], letter["usage"], letter["document"]
    notes = ["It may succeed when it is run again." if letter["retryable"] else "It would fail again as it is."]
    if document.get("truncated"):
        notes.append("The dead letter does not hold all of the document.")
    return {
        "position": position,
        "id": document["id"],
        "outcome": letter["code"],
        "stage": letter["stage"],
        "message": letter["message"],
        "raw": "" if raw is None else _cut(raw, _LONGEST_RAW),
        "values": [],
        "doubt": 0,
        "metadata": shown(document["metadata"]) if document["metadata"] else "",
        "source": letter["source"],
        "tokens": [usage[name] for name in ("prompt_tokens", "cached_tokens", "completion_tokens")],
        "model": letter["model"],
        "at": letter["failed_at"],
        "attempts": letter["attempts"],
        "notes": notes,
        "errors": None,
    }


def kind_and_text(value: Any) -> tuple[str, str]:
    """The kind of a single value, and its text. A number keeps its digits, which a browser would round."""
    if isinstance(value, str):
        return "s", _cut(value, _LONGEST_VALUE)
    if value is None:
        return "o", ""
    if isinstance(value, bool):
        return "b", "true" if value else "false"
    return ("e" if value in ([], {}) else "n"), shown(value)


def shown(value: Any) -> str:
    """A value as JSON."""
    return _cut(jsontext.dumps_any(value).decode(), _LONGEST_VALUE)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters in all)"


def field_kinds(pointers_without_value: Iterable[str], matches: Mapping[str, str] | None) -> Iterable[str]:
    """What is special about a row, of which a sample shows some: fields without a value, and how values are grounded.

    Args:
        pointers_without_value: The pointers of places without a value.
        matches: How values stand in the document, by their pointers.
    """
    yield from {f"{field_of(at)} is empty" for at in pointers_without_value}
    if matches is not None:
        yield from {f"{field_of(at)}: {match}" for at, match in matches.items() if match in _UNUSUAL}


_UNUSUAL = frozenset(("near", "none", "hidden", "example", "unverified"))
