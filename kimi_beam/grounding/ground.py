"""Grounds an answer: says of each of its values where it stands in the document, or that it stands nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from kimi_beam.grounding.choose_places import PlaceChooser
from kimi_beam.grounding.folding import fold
from kimi_beam.grounding.ladder import Found, look_up
from kimi_beam.grounding.leaves import Leaf, leaves_of
from kimi_beam.grounding.near import near
from kimi_beam.grounding.number_spellings import Span
from kimi_beam.grounding.page_places import PagePlaces
from kimi_beam.grounding.shown_text import has_unread_pictures, shown_text
from kimi_beam.grounding.text_index import TextIndex
from kimi_beam.schema import jsontext
from kimi_beam.schema.places import Places
from kimi_beam.types.document import Document
from kimi_beam.types.grounding import Grounding, GroundingMatch


def ground(
    answer: Any,
    document: Document,
    places: Places,
    metadata_keys: Sequence[str] = (),
    examples: TextIndex | None = None,
) -> tuple[Grounding, ...]:
    """Where the values of an answer stand in its document: an entry for each that is not null, in the answer's order.

    Args:
        answer: The answer as a JSON value.
        document: The document with its text. If it carries a failure, its text is not what the model was shown.
        places: The places of the schema.
        metadata_keys: The keys of the metadata that the model was shown.
        examples: The examples that the model was shown with every document; None if there were none.
    """
    return _Grounding(document, metadata_keys, examples).of(answer, places)


class _Grounding:
    """The grounding of one answer."""

    def __init__(self, document: Document, metadata_keys: Sequence[str], examples: TextIndex | None) -> None:
        self._document, self._examples = document, examples
        self._shown = shown_text(document)
        self._index = TextIndex(self._shown.seen)
        self._pages = PagePlaces(document.layout, len(document.text))
        shown = {key: document.metadata[key] for key in metadata_keys if key in document.metadata}
        self._known: dict[tuple[type, Any], Found] = {}
        self._metadata = TextIndex(_as_text(shown))

    @cached_property
    def _hidden(self) -> TextIndex:
        return TextIndex(self._shown.hidden)

    @cached_property
    def _is_unverified(self) -> bool:
        """Whether a value that the text has not may stand in a picture, or the text is not what the model was shown."""
        return self._document.failure is not None or has_unread_pictures(self._document)

    def of(self, answer: Any, places: Places) -> tuple[Grounding, ...]:
        leaves = leaves_of(answer, places)
        if self._document.failure is None:
            for leaf in leaves.each:
                if not isinstance(leaf.value, bool):
                    leaf.found = self._look_up(leaf.value)
            PlaceChooser(self._index.text).choose(leaves.root)
        return tuple(self._entry(leaf) for leaf in leaves.each)

    def _look_up(self, value: Any) -> Found:
        """Where a value stands in the text. The rows of a table have many equal values, which are looked up once."""
        key = type(value), value
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = look_up(value, self._index)
        return found

    def _entry(self, leaf: Leaf) -> Grounding:
        if leaf.span is not None:
            spelling = self._index.text[leaf.span.start : leaf.span.end]
            match = "exact" if spelling == leaf.value else leaf.found.match
            return self._at(leaf.path, match, leaf.span, leaf.candidates)
        if isinstance(leaf.value, bool) or (isinstance(leaf.value, str) and not fold(leaf.value).text):
            return Grounding(leaf.path, "derived")
        if look_up(leaf.value, self._metadata).spans:
            return Grounding(leaf.path, "metadata")
        if self._shown.hidden and (spans := look_up(leaf.value, self._hidden).spans):
            start = self._shown.hidden_start
            if start is None:
                return Grounding(leaf.path, "hidden", candidates=len(spans))
            return self._at(leaf.path, "hidden", Span(start + spans[0].start, start + spans[0].end), len(spans))
        if leaf.is_choice:
            return Grounding(leaf.path, "derived")
        if self._is_unverified:
            return Grounding(leaf.path, "unverified")
        if self._examples is not None and look_up(leaf.value, self._examples).spans:
            return Grounding(leaf.path, "example")
        place = near(leaf.value, self._index)
        return Grounding(leaf.path, "none") if place is None else self._at(leaf.path, "near", place, 0)

    def _at(self, path: str, match: GroundingMatch, span: Span, candidates: int) -> Grounding:
        page, box = self._pages.page(span), self._pages.box(span)
        return Grounding(path, match, span.start, span.end, page, box, candidates)


def _as_text(metadata: Mapping[str, Any]) -> str:
    """Metadata as lines in which values are looked up."""
    return "\n".join(
        value if isinstance(value, str) else jsontext.dumps_any(value).decode() for value in metadata.values()
    )
