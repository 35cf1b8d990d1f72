"""Who a document is addressed to, when no label says so: a salutation, or the second block of an address."""

from __future__ import annotations

import re
from typing import Final

from kimi_beam.emulator.rules.document_kinds import is_title
from kimi_beam.emulator.rules.letterhead import is_prose, looks_like_address
from kimi_beam.emulator.rules.page import Page

_TOP: Final = 30  # lines in which an address can stand
_COURTESY = re.compile(
    r"^(?:mr|mrs|ms|miss|messrs|dr|prof|herrn?|frau|firma|m|mme|monsieur|madame)\b\.? [^\W\d_][^,:;\n]{2,60}$",
    re.IGNORECASE,
)
_ATTENTION = re.compile(r"^(?:attn|attention|z\. ?hd|zu händen|c/o|à l'attention)\b", re.IGNORECASE)
_AFTER_COURTESY = re.compile(r"^(?:herrn?|firma)\s+(?=\S)", re.IGNORECASE)
_MONEY = re.compile(r"\d[.,]\d\d(?!\d)")


def recipient(page: Page) -> str | None:
    """Return the name on top of the address that a letter is sent to; None when there is no such address."""
    blocks = _blocks(page)
    for block in blocks:
        for line in block:
            if _COURTESY.match(line) and len(line.split()) <= 6 and not line.endswith((",", "!", ".")):
                return _AFTER_COURTESY.sub("", line)
    for block in blocks[1:]:
        if 2 <= len(block) <= 6 and _is_address(block):
            return block[0]
    return None


def _blocks(page: Page) -> list[list[str]]:
    """Return the groups of lines at the top that a blank line divides, as far as they are letterhead or address."""
    blocks: list[list[str]] = [[]]
    for line in page.lines[:_TOP]:
        text = line[:200].strip()
        if not text:
            if blocks[-1]:
                blocks.append([])
        elif _MONEY.search(text):
            break
        else:
            blocks[-1].append(text)
    return [block for block in blocks if block]


def _is_address(block: list[str]) -> bool:
    """Whether a block is a name and where it lives: short lines, no label, a street or "attention" below the name."""
    first = block[0]
    if any(len(line) > 60 or ":" in line or "|" in line or "  " in line or is_prose(line) for line in block):
        return False
    if any(letter.isdigit() for letter in first) or is_title(first) or not first[:1].isupper():
        return False
    return any(_ATTENTION.match(line) or (any(c.isdigit() for c in line) and _has_place(line)) for line in block[1:4])


def _has_place(line: str) -> bool:
    return looks_like_address(line) or re.fullmatch(r"[^\W\d_][^\d,]{3,40} \d{1,4}[a-z]?", line) is not None
