"""Makes single values of an answer wrong, as a model does that reads carelessly. What it gives is as valid as before.

What the schema says of one value is kept: its type, enum, format, pattern, length and bounds. What it says of several
values together (``uniqueItems``, ``contains``, ``if``) is not looked at.
"""

from __future__ import annotations

import datetime
import random
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from kimi_beam.emulator.leaf_faults import LeafFault, Strike, WrongLeaf
from kimi_beam.emulator.rules.plan import Node

Draw = Callable[[str], "Strike | None"]
_TRIES: Final = 24
_ANY: Final = Node("any", nullable=True)
_NAMES: Final = ("Marlowe", "Quennell", "Vasquez", "Thorburn", "Okonjo", "Lindqvist", "Abernathy", "Szabo")
_SORTS: Final = ("Partners", "Holdings", "Works", "& Sons", "Brothers", "Stores", "Supply", "Group")
_JSON_TYPES: Final[Mapping[type, tuple[str, ...]]] = {
    dict: ("object",),
    list: ("array",),
    str: ("string", "choice"),
    bool: ("boolean", "choice"),
    int: ("integer", "number", "choice"),
    float: ("number", "choice"),
}
_NOT_THERE: Final = object()


def with_wrong_values(content: str, schema: Node, document: str, draw: Draw) -> tuple[str, tuple[WrongLeaf, ...]]:
    """Return an answer with the values changed that a fault strikes, and the account of them.

    Args:
        content: The answer; what is no JSON object or array is left as it is.
        schema: What was asked for.
        document: The text that was asked about, for the account.
        draw: Which fault strikes the value at a JSON Pointer.
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return content, ()
    if not isinstance(value, (dict, list)):
        return content, ()
    careless = _Careless(document, draw)
    changed = careless.read(value, schema, "", True, ())
    return (orjson.dumps(changed).decode() if careless.account else content), tuple(careless.account)


class _Careless:
    """A reader of one answer.

    Args:
        document: As for `with_wrong_values`.
        draw: As for `with_wrong_values`.
    """

    def __init__(self, document: str, draw: Draw) -> None:
        self._document, self._draw = document, draw
        self.account: list[WrongLeaf] = []

    def read(self, value: Any, node: Node, at: str, needed: bool, beside: Sequence[Any]) -> Any:
        """Return what the careless reader has for a value.

        Args:
            value: The value.
            node: What the schema asks for there.
            at: Its JSON Pointer.
            needed: Whether it must not be left out.
            beside: What the items before and after its own have at this place; empty if it is in no list.
        """
        node = _fitting(node, value)
        if isinstance(value, dict):
            rules = {rule.name: rule for rule in node.properties}
            read = {}
            for name, one in value.items():
                rule = rules.get(name)
                others = [other[name] for other in beside if isinstance(other, dict) and name in other]
                inner = rule.node if rule is not None else _ANY
                got = self.read(one, inner, f"{at}/{_escaped(name)}", rule is None or rule.required, others)
                if got is not _NOT_THERE:
                    read[name] = got
            return read
        if isinstance(value, list):
            items = node.items or _ANY
            neighbours = (
                [*value[max(0, index - 1) : index], *value[index + 1 : index + 2]] for index in range(len(value))
            )
            return [
                self.read(one, items, f"{at}/{index}", True, others)
                for index, (one, others) in enumerate(zip(value, neighbours, strict=True))
            ]
        strike = self._draw(at)
        if strike is None or node.fixed:
            return value
        chance = random.Random(strike.seed)  # noqa: S311 - reproducible by the seed
        for fault in strike.faults:
            for wrong in _wrong(fault, value, node, needed, beside, chance):
                shown = None if wrong is _NOT_THERE else wrong
                self.account.append(WrongLeaf(self._document, at, fault, value, shown))
                return wrong
        return value


def _wrong(
    fault: LeafFault, value: Any, node: Node, needed: bool, beside: Sequence[Any], chance: random.Random
) -> Iterator[Any]:
    """Yield wrong values that the schema allows, if the fault can strike there."""
    if fault == "dropped_leaf":
        if value is not None and node.nullable:
            yield None
        elif value is not None and not needed:
            yield _NOT_THERE
        return
    if fault == "slipped_leaf":
        found = [one for one in beside if type(one) is type(value) and one != value]
        yield from chance.sample(found, len(found))
        return
    make = _misread if fault == "misread_leaf" else _invented
    for _ in range(_TRIES):
        wrong = make(value, node, chance)
        if wrong is not None and wrong != value and _is_valid(wrong, node):
            yield wrong


def _misread(value: Any, node: Node, chance: random.Random) -> Any:
    """Return a value with one digit or letter changed; None if it has neither."""
    if node.kind == "choice" and value is not None:
        return chance.choice(node.choices).value
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return orjson.loads(_with_digit(text, chance)) if "e" not in (text := repr(value)) else None
    if not isinstance(value, str) or not value:
        return None
    if any(letter in string.digits for letter in value):
        return _with_digit(value, chance)
    letters = [index for index, letter in enumerate(value) if letter.isalpha()]
    at = chance.choice(letters) if letters else chance.randrange(len(value))
    return f"{value[:at]}{chance.choice('abcdefik')}{value[at + 1 :]}"


def _with_digit(text: str, chance: random.Random) -> str:
    at = chance.choice([index for index, letter in enumerate(text) if letter in string.digits])
    # No digit becomes zero, so that no number begins with one.
    return f"{text[:at]}{chance.choice([digit for digit in '123456789' if digit != text[at]])}{text[at + 1 :]}"


def _invented(value: Any, node: Node, chance: random.Random) -> Any:
    """Return a value that nobody has read anywhere; None if none is known that the schema may allow."""
    if node.kind == "choice":
        return chance.choice(node.choices).value
    if node.kind == "boolean" or isinstance(value, bool):
        return chance.random() < 0.5
    if node.kind == "integer" or isinstance(value, int):
        return chance.randrange(100, 100_000)
    if node.kind == "number" or isinstance(value, float):
        return chance.randrange(10_000, 10_000_000) / 100
    if node.format in ("date", "date-time", "date-time-local"):
        day = datetime.date(1991, 1, 1) + datetime.timedelta(days=chance.randrange(12_000))
        times = {"date": "", "date-time": "T04:17:00Z", "date-time-local": "T04:17:00"}
        return f"{day.isoformat()}{times[node.format]}"
    if node.kind in ("string", "any") and not node.format:
        return f"{chance.choice(_NAMES)} {chance.choice(_SORTS)}"
    return None


def _is_valid(value: Any, node: Node) -> bool:
    if isinstance(value, str):
        return node.accepts_text(value) and _is_time(value, node.format)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return node.accepts_number(value)
    return True


def _is_time(text: str, form: str) -> bool:
    """Whether a text is a date or a time, if it has to be one."""
    if form not in ("date", "date-time", "time"):
        return True
    # Python 3.10 reads no Z.
    text = text.replace("Z", "+00:00").replace("z", "+00:00")
    try:
        if form == "date":
            datetime.date.fromisoformat(text)
        elif form == "time":
            datetime.time.fromisoformat(text)
        else:
            datetime.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _fitting(node: Node, value: Any) -> Node:
    """Return the alternative of a node that a value is of; the node itself if it has none."""
    if node.kind != "variants":
        return node
    kinds = _JSON_TYPES.get(type(value), ("string", "number", "integer", "boolean", "choice"))
    found = next((one for one in node.variants if one.kind in kinds), _ANY)
    return replace(found, nullable=node.nullable)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
