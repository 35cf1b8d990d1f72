"""What to look for: a property of a schema turned into the labels a document may print for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from kimi_beam.emulator.rules.lexicon import (
    Concept,
    Kind,
    concept_named,
    concept_within,
    phrase_pattern,
    unified,
    word_set,
    words,
)

_GENERIC: Final = word_set(
    "the a an of document doc bill overall value raw printed field text string extracted actual original full my our"
)
_ALSO_GENERIC: Final = frozenset({"invoice", "receipt"})
_BY_WORD: Final[dict[str, Kind]] = {
    **dict.fromkeys(("date", "datum", "day", "deadline"), "date"),
    **dict.fromkeys(("amount", "price", "total", "cost", "fee", "sum", "betrag", "montant", "value"), "amount"),
    **dict.fromkeys(("number", "no", "nr", "id", "code", "reference", "ref", "nummer"), "identifier"),
    **dict.fromkeys(("address", "anschrift", "adresse"), "address"),
    **dict.fromkeys(("email", "mail"), "email"),
    **dict.fromkeys(("url", "website", "link", "uri"), "url"),
    **dict.fromkeys(("phone", "telephone", "tel", "fax", "mobile"), "phone"),
    **dict.fromkeys(("currency",), "currency"),
    **dict.fromkeys(("percent", "percentage"), "percent"),
}
_BY_FORMAT: Final[dict[str, Kind]] = {
    "date": "date",
    "date-time": "date",
    "date-time-local": "date",
    "email": "email",
    "idn-email": "email",
    "uri": "url",
    "url": "url",
    "iri": "url",
    "uri-reference": "url",
}
_WITHIN: Final = 12  # words of a description that are looked at


@dataclass(frozen=True)
class Label:
    """How a document may announce a value.

    Attributes:
        words: The property's own words.
        kind: What kind of value is expected.
        concept: What it means, None when the words are in no table.
        pattern: Finds the phrases in lower-case text; None when there is nothing to look for.
        ranks: Words of a phrase to how good a match it is; 0 is best.
    """

    words: tuple[str, ...]
    kind: Kind
    concept: Concept | None
    pattern: re.Pattern[str] | None
    ranks: dict[tuple[str, ...], int]

    def rank(self, found: str) -> int:
        """Return how good a match some text is that ``pattern`` found."""
        return self.ranks.get(unified(words(found)), len(self.ranks))

    def means(self, name: str) -> bool:
        """Whether this is the concept of that name."""
        return self.concept is not None and self.concept.name == name


def label_for(
    name: str,
    *,
    title: str = "",
    description: str = "",
    form: str = "",
    kind: str = "",
    context: tuple[str, ...] = (),
) -> Label:
    """Make the label of a property.

    Args:
        name: The property's name.
        title: Its title in the schema.
        description: Its description; used when neither name nor title say anything known.
        form: Its ``format``.
        kind: Its JSON type.
        context: Words of the object it belongs to: ``name`` of a ``seller`` may be printed as "Seller name".
    """
    own = words(name)
    candidates = [own, words(title)]
    concept, phrases = None, [" ".join(words_) for words_ in candidates if words_]
    for candidate in [*candidates, words(description)[:_WITHIN]]:
        concept, more = _meaning(candidate)
        if concept is not None:
            phrases += more
            break
    if context and own in (("number",), ("no",), ("nr",)):  # of a position or a party, not of the document
        concept, phrases = None, [" ".join(own)]
    if context:
        phrases = [" ".join((*context, *own)), *phrases]
    phrases = list(dict.fromkeys(phrase for phrase in phrases if phrase))
    ranks: dict[tuple[str, ...], int] = {}
    for rank, phrase in enumerate(phrases):
        ranks.setdefault(unified(words(phrase)), rank)
    return Label(own, _kind(own, concept, form, kind), concept, _pattern(phrases), ranks)


def _meaning(name: tuple[str, ...]) -> tuple[Concept | None, list[str]]:
    """Return the concept that some words name, and the phrases to look for."""
    bare = tuple(word for word in name if word not in _GENERIC)
    for candidate in (name, bare, tuple(word for word in bare if word not in _ALSO_GENERIC)):
        concept = concept_named(candidate)
        if concept is not None:
            return concept, list(concept.phrases)
    concept = concept_within(bare)
    if concept is None or len(bare) > 4:
        return None, []
    # Words that qualify it must stand in the document too: a "previous balance" is not any balance.
    known = max((words(phrase) for phrase in concept.phrases if _ends(bare, words(phrase))), key=len, default=())
    qualifier = " ".join(bare[: len(bare) - len(known)]) if known else None
    return concept, [] if qualifier is None else [f"{qualifier} {phrase}" for phrase in concept.phrases]


def _ends(name: tuple[str, ...], phrase: tuple[str, ...]) -> bool:
    return len(phrase) < len(name) and unified(name)[-len(phrase) :] == unified(phrase)


def _kind(own: tuple[str, ...], concept: Concept | None, form: str, kind: str) -> Kind:
    if form in _BY_FORMAT:
        return _BY_FORMAT[form]
    if concept is not None and not (kind in ("number", "integer") and concept.kind in ("text", "party", "address")):
        return concept.kind
    if kind in ("number", "integer"):
        return "amount"
    return next((_BY_WORD[word] for word in reversed(own) if word in _BY_WORD), "text")


def _pattern(phrases: list[str]) -> re.Pattern[str] | None:
    patterns = [phrase_pattern(phrase) for phrase in sorted(phrases, key=len, reverse=True)[:80] if len(phrase) < 120]
    patterns = [pattern for pattern in patterns if pattern]
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(patterns)})(?![^\W\d_])") if patterns else None
