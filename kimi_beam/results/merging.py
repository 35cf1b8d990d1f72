"""Merges the answers of a document's parts into one, by where they were read and not by their value.

Arrays are joined in the order of the document, so that two equal rows stay two. What the model read in the context
beside a part belongs to another part and is left out. Objects are merged member by member; of single values the first
that is not null counts, and of booleans true, unless the property has another rule (``x-merge``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from kimi_beam.results.grounded_values import GroundedText, from_context
from kimi_beam.schema import jsontext
from kimi_beam.schema.additional import pointer
from kimi_beam.schema.merge_rules import How, MergeRules
from kimi_beam.schema.shapes import Term

_MOST_CONFLICTS = 100
_COMBINING = ("any", "all", "max", "min", "sum", "union")
"""Rules that use every value, so that none contradicts another."""


class PartAnswer(NamedTuple):
    """The answer for one part."""

    start: int
    """The index of the part's first character in the text of the document."""
    end: int
    """The index behind its last character."""
    value: Any
    """The answer as a JSON value."""
    text: str = ""
    """The part's own text."""
    context: str = ""
    """All that the model was shown beside it."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A single value that two parts state differently.

    Attributes:
        at: The place in the answer, as a JSON pointer.
        kept: The value that was kept.
        kept_span: The first and the last index of the part that states it.
        other: The value that another part states.
        other_span: The span of that part.
    """

    at: str
    kept: Any
    kept_span: tuple[int, int]
    other: Any
    other_span: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Merged:
    """The answer for the whole document.

    Attributes:
        value: The answer, which is not validated yet.
        conflicts: The first hundred contradictions between parts.
        from_context: How many items were left out because they were read in the context beside a part.
    """

    value: Any
    conflicts: tuple[Conflict, ...] = ()
    from_context: int = 0


class _Stated(NamedTuple):
    """A value, and the part that states it."""

    value: Any
    part: int


def merge(answers: Sequence[PartAnswer], rules: MergeRules) -> Merged:
    """Merges the answers of all parts.

    Args:
        answers: The answers, in the order of the document.
        rules: The rules of the schema.
    """
    return _Merge(answers, rules).run()


def with_lists_of(other: Any, answer: Any) -> Any:
    """An answer with the lists of another one, and with what it lacks itself.

    Args:
        other: The answer whose lists are taken.
        answer: The answer whose single values are kept.
    """
    if answer is None or (isinstance(answer, list) and isinstance(other, list)):
        return other
    if not (isinstance(answer, Mapping) and isinstance(other, Mapping)):
        return answer
    both = {name: with_lists_of(other[name], value) if name in other else value for name, value in answer.items()}
    return {**both, **{name: value for name, value in other.items() if name not in answer}}


@dataclass
class _Merge:
    answers: Sequence[PartAnswer]
    rules: MergeRules
    conflicts: list[Conflict] = field(default_factory=list)
    left_out: int = 0

    def run(self) -> Merged:
        self._texts = [(GroundedText(one.text), GroundedText(one.context)) for one in self.answers]
        stated = [_Stated(answer.value, index) for index, answer in enumerate(self.answers)]
        value = self._merged(stated, self.rules.root, "")
        return Merged(value, tuple(self.conflicts[:_MOST_CONFLICTS]), self.left_out)

    def _merged(self, stated: list[_Stated], place: Term | None, path: str) -> Any:
        there = [one for one in stated if one.value is not None]
        if not there:
            return None if path else self._nothing(place)
        kind = type(there[0].value)
        if kind is list:
            return self._array(self._of(list, there, path), self.rules.how(place))
        if kind is dict:
            return self._object(self._of(dict, there, path), place, path)
        scalars = [one for one in there if not isinstance(one.value, (list, dict))]
        self._note(scalars[0], [one for one in there if isinstance(one.value, (list, dict))], path)
        return self._scalar(scalars, self.rules.how(place), path)

    def _nothing(self, place: Term | None) -> Any:
        """The answer for a document of which no part states anything."""
        empty = self.rules.empty(place)
        return self._object([], place, "") if empty == {} else empty

    def _of(self, kind: type, there: list[_Stated], path: str) -> list[_Stated]:
        """The values of the kind that the first one has; the others contradict it."""
        self._note(there[0], [one for one in there if not isinstance(one.value, kind)], path)
        return [one for one in there if isinstance(one.value, kind)]

    def _object(self, stated: list[_Stated], place: Term | None, path: str) -> dict[str, Any]:
        names = dict.fromkeys(name for one in stated for name in one.value)
        found: dict[str, Any] = {}
        for name in names:
            members = [_Stated(one.value[name], one.part) for one in stated if name in one.value]
            found[name] = self._merged(members, self.rules.member(place, name), pointer(path, name))
        for name, empty in self.rules.empty_members(place).items():
            if found.get(name) is None:
                found[name] = empty
        return found

    def _array(self, stated: list[_Stated], how: How | None) -> list[Any]:
        if how in ("first", "last", "longest"):
            chosen = {"first": stated[0], "last": stated[-1]}.get(how) or max(stated, key=lambda one: len(one.value))
            return list(chosen.value)
        found: list[Any] = []
        seen: set[bytes] = set()
        for items, part in stated:
            own, context = self._texts[part]
            dropped = from_context(items, own, context) if items and self.answers[part].context else set()
            self.left_out += len(dropped)
            for index, item in enumerate(items):
                if index in dropped:
                    continue
                if how == "union":
                    key = jsontext.canonical(item)
                    if key in seen:
                        continue
                    seen.add(key)
                found.append(item)
        return found

    def _scalar(self, stated: list[_Stated], how: How | None, path: str) -> Any:
        # A part that does not show a clause answers false for it, so that a false says less than a true elsewhere.
        is_yes_or_no = how is None and all(isinstance(one.value, bool) for one in stated)
        chosen = _chosen(stated, "any" if is_yes_or_no else how or "first")
        if how not in _COMBINING:
            self._note(chosen, stated, path)
        return chosen.value

    def _note(self, kept: _Stated, others: list[_Stated], path: str) -> None:
        """Notes the values that contradict the one that is kept, each of them once."""
        seen = {_key(kept.value)}
        for other in others:
            key = _key(other.value)
            if key not in seen and len(self.conflicts) < _MOST_CONFLICTS:
                seen.add(key)
                self.conflicts.append(Conflict(path, kept.value, self._span(kept), other.value, self._span(other)))

    def _span(self, stated: _Stated) -> tuple[int, int]:
        return self.answers[stated.part].start, self.answers[stated.part].end


def _chosen(stated: list[_Stated], how: How) -> _Stated:
    """The value of a rule. A rule that does not fit the values' types chooses the first."""
    first, values = stated[0], [one.value for one in stated]
    if how == "last":
        return stated[-1]
    if how == "majority":
        keys = list(map(_key, values))
        most = Counter(keys).most_common(1)[0][1]
        return next(one for one, key in zip(stated, keys, strict=True) if keys.count(key) == most)
    if how in ("any", "all") and all(isinstance(value, bool) for value in values):
        return next((one for one in stated if one.value is (how == "any")), first)
    if how == "longest" and all(isinstance(value, str) for value in values):
        return max(stated, key=lambda one: len(one.value))
    if how in ("max", "min", "sum") and not any(isinstance(value, bool) for value in values):
        if all(isinstance(value, (int, float, Decimal)) for value in values):
            if how == "sum":
                return _Stated(_sum(values), first.part)
            return (max if how == "max" else min)(stated, key=lambda one: _decimal(one.value))
        if how != "sum" and all(isinstance(value, str) for value in values):
            return (max if how == "max" else min)(stated, key=lambda one: one.value)
    return first


def _key(value: Any) -> Any:
    """Equal for equal JSON values: 2 and 2.0 are one number."""
    is_number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    return _decimal(value) if is_number else jsontext.canonical(value)


def _sum(numbers: list[Any]) -> Any:
    total = sum(map(_decimal, numbers), Decimal(0))
    if all(isinstance(number, int) for number in numbers):
        return int(total)
    return jsontext.float_or_decimal(total)


def _decimal(number: Any) -> Decimal:
    return Decimal(repr(number) if isinstance(number, float) else number)
