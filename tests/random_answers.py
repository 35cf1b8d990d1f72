"""Random golds, and answers to them with errors of all kinds. Values on which every way of comparing them agrees."""

from __future__ import annotations

import random
from typing import Any

WORDS = ("alpha", "beta", "gamma", "delta")
_LINE = {
    "type": "object",
    "properties": {
        "name": {"type": ["string", "null"]},
        "count": {"type": ["integer", "null"]},
        "paid": {"type": ["boolean", "null"]},
        "notes": {"type": "array", "items": {"type": "string"}},
        "parts": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"code": {"type": ["string", "null"]}, "weight": {"type": ["integer", "null"]}},
            },
        },
    },
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "number": {"type": ["string", "null"]},
        "total": {"type": ["integer", "null"]},
        "seller": {
            "type": "object",
            "properties": {"name": {"type": ["string", "null"]}, "city": {"type": ["string", "null"]}},
        },
        "tags": {"type": "array", "items": {"type": "string"}},
        "lines": {"type": "array", "items": _LINE},
    },
}


def gold(chance: random.Random) -> dict[str, Any]:
    """A gold with up to four lines, many of whose values are equal."""
    return {
        "number": _word(chance),
        "total": _count(chance),
        "seller": {"name": _word(chance), "city": _word(chance)},
        "tags": [chance.choice(WORDS) for _ in range(chance.randrange(4))],
        "lines": [_line(chance) for _ in range(chance.randrange(5))],
    }


def answer(right: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """An answer with some errors."""
    found: dict[str, Any] = _altered(right, chance, chance.choice((0.05, 0.2, 0.5)))
    for rows in (found["tags"], found["lines"], *(line["parts"] for line in found["lines"])):
        chance.shuffle(rows)
        if rows and chance.random() < 0.2:
            rows.pop()
        if rows and chance.random() < 0.1:
            rows.append(chance.choice(rows))
    if chance.random() < 0.2:
        found["lines"].append(_line(chance))
    if chance.random() < 0.1:
        found["colour"] = chance.choice(WORDS)
    return found


def _line(chance: random.Random) -> dict[str, Any]:
    return {
        "name": _word(chance),
        "count": _count(chance),
        "paid": chance.choice((True, False, None)),
        "notes": [chance.choice(WORDS) for _ in range(chance.randrange(3))],
        "parts": [{"code": _word(chance), "weight": _count(chance)} for _ in range(chance.randrange(3))],
    }


def _word(chance: random.Random) -> str | None:
    return None if chance.random() < 0.2 else chance.choice(WORDS)


def _count(chance: random.Random) -> int | None:
    return None if chance.random() < 0.2 else chance.randrange(3)


def _altered(value: Any, chance: random.Random, share: float) -> Any:
    """The value with so large a share of its single values left out or replaced."""
    if isinstance(value, dict):
        return {key: _altered(one, chance, share) for key, one in value.items()}
    if isinstance(value, list):
        return [one for one in (_altered(item, chance, share) for item in value) if one is not None]
    if chance.random() >= share:
        return value
    if isinstance(value, bool):
        return chance.choice((not value, None))
    if isinstance(value, int):
        return chance.choice((value + 1, None))
    return chance.choice((*WORDS, None))
