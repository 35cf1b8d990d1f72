"""Where a value of an answer stands in its document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GroundingMatch = Literal[
    "exact", "normalised", "number", "date", "derived", "metadata", "hidden", "example", "near", "none", "unverified"
]
"""How a value of an answer stands in its document.

- ``exact``: as it is spelt.
- ``normalised``: but for white space, case and typography.
- ``number``: the same decimal value in another spelling.
- ``date``: the same day in another spelling.
- ``derived``: nowhere, and it need not: true and false, what the schema lets choose from a list, and
  what an equation of the schema (``x-check``) gives, all of whose other values stand in the document.
- ``metadata``: nowhere in the text, but in the metadata that the model was shown.
- ``hidden``: only in text that a person does not see.
- ``example``: nowhere in the document, but in an example that the model was shown beside it.
- ``near``: nowhere; the place is one that resembles it, for a reviewer.
- ``none``: nowhere.
- ``unverified``: it was not found, but the model was shown pictures, in which nobody has looked.
"""

GROUNDED: frozenset[GroundingMatch] = frozenset(("exact", "normalised", "number", "date", "derived", "metadata"))
"""The kinds of match that count as grounded."""


@dataclass(frozen=True, slots=True)
class Grounding:
    """Where one value of an answer stands in its document.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     documents = pipeline | beam.Create([kb.Document("receipt-1", "Total: 24.80")])
        ...     rows = (documents | kb.Extract("receipt.json", service=service, ground=True)).extractions
        ...     _ = rows | beam.Map(lambda row: print(row.grounding[0].path, row.grounding[0].match))
        /total number

    Attributes:
        path: The JSON Pointer of the value in the answer.
        match: How it stands there.
        start: The index of its first character in `Document.text`; None if it has no place.
        end: The index after its last character; None if it has no place.
        page: The number of its page, from 1; None if the document has no pages or the value no place.
        box: Left, top, right and bottom on the page, in points from the upper left corner; None if they are not known.
        candidates: At how many places it may stand that nothing tells apart; 0 if it stands nowhere.
    """

    path: str
    match: GroundingMatch
    start: int | None = None
    end: int | None = None
    page: int | None = None
    box: tuple[float, float, float, float] | None = None
    candidates: int = 0
