"""Facts that contracts state in sentences rather than behind labels."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from kimi_beam.emulator.rules.page import Page

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
    r"\b(?:by and between|between|among|zwischen|entre les soussignés|entre)\b\s*:?\s+(?P<first>\S.{2,250}?)"
    r",?\s+(?:and|und|et)\s+(?P<second>\S.{2,160})",
    re.IGNORECASE | re.DOTALL,
)
_NUMBERED = re.compile(
    r"^[ \t]*\(?(?P<number>[1-9])[.)][ \t]+(?P<name>\S[^\n]{2,200}(?:\n(?![ \t]*\(?[1-9][.)])[^\n]{1,100})?)",
    re.MULTILINE,
)
_DEFINED = re.compile(
    r"(?P<name>[A-ZÀ-Þ][^\W_]*(?:[ \n](?:(?:of|the|and|de|der|von|für|du)[ \n])?[A-ZÀ-Þ&][\w&.'-]*){0,9})"
    r"\s*\((?:the |hereinafter |nachfolgend )?[\"“„«'\u2018]"
)
_RECEIVED = re.compile(
    r"(?i:received)\s(?i:(?:with\sthanks\s)?from)\s+(?P<name>[A-ZÀ-Þ][\w.'-]*(?:\s[A-ZÀ-Þ][\w.'-]*){1,5})"
)
_SPEAKS_OF_PARTIES = re.compile("between|parties|zwischen|soussigné|entre|among")
_BRACKET = re.compile(r"\((?:the |hereinafter |nachfolgend )?[\"“„«'\u2018]")
_PARTIES_HEADING = re.compile(r"\b(?:between|parties|zwischen|soussignés)\b\W{0,12}$", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:the|der|die|das|dem|den|la société|la sociedad)\s+", re.IGNORECASE)
_NAME_ENDS = re.compile(
    r"\s*[(;:]|\n\s*\n|\n?\s+[-\u2013\u2014]\s|,\s+(?=[^,]{0,40}\d|[a-zà-ÿ«])|\s[\"“„«]"
    r"|(?<=[^\W\d_]{4})\.(?:\s|$)|,?\s+(?:wird|werden|haben|agrees?|have|has|shall|is|are|who"
    r"|whose|dated|on|made)\s|,\s*$",
)


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
    text = page.text[:_OPENING]
    tries: list[list[str]] = []
    if _SPEAKS_OF_PARTIES.search(page.lower, 0, _OPENING):
        match = _BETWEEN.search(text)
        tries = [_numbered(text), [match["first"], match["second"]] if match else []]
    if _BRACKET.search(page.lower, 0, _OPENING):
        tries.append(_defined(text))
    for found in tries:
        names = [name for name in map(_name, found) if name]
        if len(names) == 2:
            return names
    return []


def _numbered(text: str) -> list[str]:
    """Return the entries "(1) A Ltd" and "(2) B Ltd" that stand under a heading or name a role in brackets."""
    found: list[str] = []
    for match in _NUMBERED.finditer(text):
        if int(match["number"]) != len(found) + 1:
            continue
        if not found and not _PARTIES_HEADING.search(text, max(0, match.start() - 60), match.start()):
            continue
        found.append(match["name"])
        if len(found) == 2:
            break
    return found


def _defined(text: str) -> list[str]:
    """Return the first two names that a word in quotes and brackets is made to stand for."""
    return [match["name"] for match in _DEFINED.finditer(text)][:2]


def _name(text: str) -> str:
    """Return the name at the beginning of a text about a party, empty when it does not begin with one."""
    text = _ARTICLE.sub("", text.strip())
    end = _NAME_ENDS.search(text)
    name = " ".join((text[: end.start()] if end else text).split()).strip(" ,;:\"'")
    capital = any(letter.isupper() for letter in name) or not name.isascii()
    return name if len(name) > 2 and capital and re.match(r"[^\W_]", name) and len(name) < 120 else ""


def payer(page: Page) -> list[str]:
    """Return who paid: "received with thanks from Jane Roe the sum of" is Jane Roe."""
    match = _RECEIVED.search(page.text) if "eceived" in page.text or "RECEIVED" in page.text else None
    return [" ".join(match["name"].split())] if match else []


def _trailing_words(place: str) -> str:
    return re.sub(r"(?:\s+(?:of|and|the))+$", "", place).rstrip(".")


CLAUSES: Final[dict[str, Callable[[Page], list[str]]]] = {
    "governing law": governing_law,
    "term": term,
    "parties": parties,
    "buyer": payer,
}
"""The concept's name to what looks for it."""
