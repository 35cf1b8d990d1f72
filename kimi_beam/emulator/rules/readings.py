"""What a candidate can be in the type that a schema asks for: a date, a number or a text, as it accepts them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from kimi_beam.emulator.rules import typed_text
from kimi_beam.emulator.rules.finders import Candidate
from kimi_beam.emulator.rules.page import Page
from kimi_beam.emulator.rules.plan import Node
from kimi_beam.emulator.rules.typed_text import Amount, Date

MISSING: Final = object()
"""In place of a value that the document does not give and the schema does not allow to be null."""

_TIME = re.compile(r"[ T,]{1,3}(\d{1,2}):(\d{2})(?::(\d{2}))?")


def first_of(node: Node, candidates: Sequence[Candidate], page: Page) -> Any:
    """Return the first value that the schema accepts, else what `nothing` says."""
    for candidate in candidates:
        for value in readings(node, candidate, page):
            return value
    return nothing(node)


def nothing(node: Node) -> Any:
    """Return what stands for a value that is not found: null where the schema allows it, else `MISSING`."""
    return None if node.nullable else MISSING


def readings(node: Node, candidate: Candidate, page: Page) -> Iterator[Any]:
    """Yield the values that a candidate can be in a string or number, those the schema accepts, the best first."""
    if node.kind in ("number", "integer"):
        numbers = [candidate] if isinstance(candidate, Amount) else []
        if isinstance(candidate, str):
            numbers = Page(candidate).amounts[:1]
        for number in numbers:
            value = float(number.value)
            if math.isfinite(value) and node.accepts_number(value) and (node.kind == "number" or value.is_integer()):
                yield int(value) if value.is_integer() and (node.kind == "integer" or not number.decimals) else value
        return
    if node.kind == "boolean":
        if isinstance(candidate, str) and (truth := typed_text.boolean(candidate)) is not None:
            yield truth
        return
    for text in _spellings(node, candidate, page):
        if text and node.accepts_text(text):
            yield text


def _spellings(node: Node, candidate: Candidate, page: Page) -> Iterator[str]:
    if isinstance(candidate, Date):
        iso = candidate.value.isoformat()
        if node.format in ("date-time", "date-time-local"):
            # Midnight where no time is printed; the zone is never printed, and taken as UTC where one is asked for.
            time = _TIME.match(page.text, candidate.end)
            hour, minute, second = (int(part or 0) for part in time.groups()) if time else (0, 0, 0)
            valid = hour < 24 and minute < 60 and second < 60
            zone = "Z" if node.format == "date-time" else ""
            yield f"{iso}T{hour:02}:{minute:02}:{second:02}{zone}" if valid else f"{iso}T00:00:00{zone}"
        elif node.format == "date":
            yield iso
        else:
            yield from (candidate.text, iso)
    elif isinstance(candidate, Amount):
        yield from (candidate.text, f"{candidate.value:f}")
    elif node.format in ("date", "date-time", "date-time-local"):
        text = Page(candidate)
        for date in text.dates[:1]:
            yield from _spellings(node, date, text)
    elif node.format in ("email", "idn-email"):
        yield from typed_text.emails(candidate)
    elif node.format in ("uri", "url", "iri"):
        for url in typed_text.urls(candidate):
            yield url if "://" in url else f"https://{url}"
    else:
        yield candidate
        if node.pattern is not None:
            yield from (candidate.upper(), candidate.replace(" ", ""))
