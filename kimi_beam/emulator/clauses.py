"""Facts that contracts state in sentences rather than behind labels."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from kimi_beam.emulator.page import Page

_OPENING: Final = 6_000  # characters in which a contract names its parties
_LAWS = re.compile(
    r"govern(?:ed|ing)\b.{0,120}?\blaws?\s+of\s+(?:the\s+)?"
    r"(?:(?:[Ss]tate|[Cc]ommonwealth|[Pp]rovince|[Rr]epublic|[Kk]ingdom)\s+of\s+)?"
    r"(?P<where>[A-Z][\w.]*(?:\s+(?:[A-Z][\w.]*|of|and|the)){0,4})",
    re.DOTALL,
)
_TERM = re.compile(
    r"\b(?:term|period|duration)\b.{0,80}?\b(?P<term>(?:[a-z]{1,15}(?:-[a-z]{1,15})?\s+)?"
    r"\(?\d{1,3}\)?\s*[- ](?:year|month|week|day)s?)\b",
    re.IGNORECASE | re.DOTALL,
)
_BETWEEN = re.compile(
    r"\b(?:between|among|by and between)\b:?\s+(?P<first>.{3,120}?)\s+(?:and|und|et)\s+(?P<second>.{3,120}?)"
    r"(?:\s*[(;\n]|\.\s|,\s+(?:a|an|the|with|each|both|whose|dated|for|as)\b|$)",
    re.IGNORECASE | re.DOTALL,
)
_ASIDE = re.compile(r"\s*\([^)]*\)|,\s+(?:an?|the|with|having|whose|organized|incorporated)\s.*$", re.DOTALL)


def governing_law(page: Page) -> list[str]:
    """Return whose law governs: "the laws of the State of Delaware" is ``Delaware``."""
    match = _LAWS.search(page.text) if "govern" in page.text else None
    return [_trailing_words(" ".join(match["where"].split()))] if match else []


def term(page: Page) -> list[str]:
    """Return how long it runs, as printed: ``24 months``, ``two (2) years``."""
    match = _TERM.search(page.text)
    return [" ".join(match["term"].split())] if match else []


def parties(page: Page) -> list[str]:
    """Return who concludes it: "between A GmbH (the Seller) and B Ltd" is two."""
    match = _BETWEEN.search(page.text[:_OPENING])
    if match is None:
        return []
    names = (" ".join(_ASIDE.sub("", match[group]).split()).strip(" ,;:\"'") for group in ("first", "second"))
    return [name for name in names if re.match(r"[^\W_]", name)]


def _trailing_words(place: str) -> str:
    return re.sub(r"(?:\s+(?:of|and|the))+$", "", place).rstrip(".")


CLAUSES: Final[dict[str, Callable[[Page], list[str]]]] = {
    "governing law": governing_law,
    "term": term,
    "parties": parties,
}
"""The concept's name to what looks for it."""
