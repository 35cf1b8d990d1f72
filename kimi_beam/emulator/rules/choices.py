"""Members of enumerations, and yes or no: what a document says of a short list of possibilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kimi_beam.emulator.rules import typed_text
from kimi_beam.emulator.rules.document_kinds import kind_of
from kimi_beam.emulator.rules.finders import find
from kimi_beam.emulator.rules.labels import Label
from kimi_beam.emulator.rules.page import Page
from kimi_beam.emulator.rules.plan import Node
from kimi_beam.emulator.rules.readings import nothing

_OCCURRENCES: Final = 1_000  # of a name that may be part of other words before giving up


def chosen(node: Node, label: Label, page: Page) -> Any:
    """Return the member of an enumeration that a label names, else the kind of document, else what is named first."""
    if len(node.choices) == 1 and node.fixed:
        return node.choices[0].value
    candidates = find(page, label) if label.pattern is not None and label.kind != "amount" else []
    for candidate in candidates[:3]:
        text = candidate.strip().lower() if isinstance(candidate, str) else ""
        for choice in node.choices:
            if text in choice.names:
                return choice.value
        inside = earliest(node, Page(text)) if text else None
        if inside is not None:
            return inside
    if node.kinds and (kind := kind_of(page, [kind for kind in node.kinds if kind])):
        return node.choices[node.kinds.index(kind)].value
    named = earliest(node, page)
    return nothing(node) if named is None else named


def earliest(node: Node, page: Page) -> Any:
    """Return the member of an enumeration that a text names first; None when it names none."""
    found = [(at, choice.value) for choice in node.choices if (at := occurrence(choice.names, page)) is not None]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def occurrence(names: Sequence[str], page: Page) -> int | None:
    """Return where one of some names first stands as a whole word; None when none does."""
    first: int | None = None
    for name in names:
        at = page.lower.find(name)
        for _ in range(_OCCURRENCES):
            if at < 0:
                break
            end = at + len(name)
            before = page.lower[at - 1] if at else " "
            after = page.lower[end] if end < len(page.lower) else " "
            if not (before.isalnum() and name[0].isalnum()) and not (after.isalnum() and name[-1].isalnum()):
                first = at if first is None else min(first, at)
                break
            at = page.lower.find(name, at + 1)
    return first


def truth(node: Node, label: Label, page: Page) -> Any:
    """Return what a document answers to a yes-or-no question, behind a label or as a ticked box."""
    for mention in sorted(page.mentions(label), key=lambda mention: -mention.score):
        value = typed_text.boolean(page.value_after(mention)[:20]) if mention.score >= 60 else None
        if value is None and page.lower[max(0, mention.start - 4) : mention.start].strip() in ("[x]", "☑", "☒"):
            value = True
        if value is None and page.lower[max(0, mention.start - 4) : mention.start].strip() in ("[ ]", "[]", "☐"):
            value = False
        if value is not None:
            return value
    return nothing(node)
