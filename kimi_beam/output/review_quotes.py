"""Quotes in the lines of a review queue: the text around each value, which a person compares it with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from kimi_beam.output.review_queue import ReviewLine, ReviewQueue
from kimi_beam.request.redact_document import Redactor
from kimi_beam.request.sensitive_rules import Span

TextsOf: TypeAlias = "Callable[[str, Set[str]], Mapping[str, str]]"
"""Gives the texts of documents by id, of a source and the ids of some documents of it."""
_AROUND = 80
"""Characters before a value and after it."""
_MOST_OF_VALUE = 300


class Quoted(NamedTuple):
    """A queue with quotes."""

    queue: ReviewQueue
    unread: int
    """How many of its documents have no quotes, because their texts are not there any more, or are others now."""


def with_quotes(queue: ReviewQueue, texts_of: TextsOf, redactor: Redactor | None = None) -> Quoted:
    """The queue with a quote in each line whose value has a place, that of what resembles it included.

    A text that is another one than the run has read is told by the values that stand in it as they are spelt.

    Args:
        queue: The queue.
        texts_of: Reads texts again; called once for each source.
        redactor: Finds values that nobody is to see: where one stands beside the value of a line, its quote names the
            kind alone. None: there are none.

    Raises:
        ConfigError: A function that finds such values has failed.
    """
    by_source: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, line in enumerate(queue.lines):
        if line.place is not None and line.place["start"] is not None:
            by_source[line.source][line.document_id].append(index)
    lines = list(queue.lines)
    unread = 0
    for source, documents in by_source.items():
        texts = texts_of(source, documents.keys())
        for document_id, indices in documents.items():
            text = texts.get(document_id)
            if text is None or not all(_still_stands(lines[index], text) for index in indices):
                unread += 1
                continue
            hidden = () if redactor is None else redactor.places(text)
            for index in indices:
                place = lines[index].place
                assert place is not None
                lines[index] = replace(lines[index], quote=_quote(text, place, hidden))
    return Quoted(replace(queue, lines=tuple(lines)), unread)


def _still_stands(line: ReviewLine, text: str) -> bool:
    """Whether a text may be the one in which the values of a line's row were found."""
    place, proof = line.place, line.proof
    assert place is not None
    if place["end"] > len(text) or (proof is not None and text[proof.start : proof.end] != proof.value):
        return False
    is_spelt_so = place["match"] == "exact" and isinstance(line.value, str)
    return not is_spelt_so or text[place["start"] : place["end"]] == line.value


def _quote(text: str, place: Mapping[str, Any], hidden: Sequence[Span]) -> dict[str, str]:
    """The value in its surroundings, each on one line."""
    start, end = place["start"], place["end"]
    # What merely resembles the value is none of the row's, so that it may have to be hidden itself.
    shown = "".join(_without(text, start, end, hidden)) if place["match"] == "near" else text[start:end]
    if len(shown) > _MOST_OF_VALUE:
        shown = f"{shown[: _MOST_OF_VALUE // 2]}…{shown[-_MOST_OF_VALUE // 2 :]}"
    return {
        "before": _in_one_line("".join(_without(text, max(0, start - _AROUND), start, hidden))),
        "value": _in_one_line(shown),
        "after": _in_one_line("".join(_without(text, end, min(len(text), end + _AROUND), hidden))),
    }


def _without(text: str, start: int, end: int, hidden: Iterable[Span]) -> Iterator[str]:
    """A stretch of a text with the kinds of hidden values in their places."""
    for first, last, kind in hidden:
        if last > start and first < end:
            yield text[start : max(start, first)]
            yield f"[{kind}]"
            start = min(end, last)
    yield text[start:end]


def _in_one_line(text: str) -> str:
    return " ".join(text.split())
