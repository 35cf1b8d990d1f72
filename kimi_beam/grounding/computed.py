"""Values that stand nowhere because they were computed by an equation of the schema (``x-check``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kimi_beam.schema.additional import pointer
from kimi_beam.schema.sum_checks import SumCheck
from kimi_beam.types.grounding import GROUNDED, Grounding

_NAME = re.compile(r"[^\W\d][\w.]*")
_FUNCTIONS = frozenset(("sum", "count"))


def with_computed(grounding: Sequence[Grounding], checks: Sequence[SumCheck], answer: Any) -> tuple[Grounding, ...]:
    """The entries, of which those count as derived whose value an equation gives.

    An equation gives the value that is alone on one of its sides, if it is fulfilled and all values on its other side
    stand in the document.

    Args:
        grounding: Where the values of an answer stand.
        checks: The equations of the schema.
        answer: The answer.
    """
    lacking = {one.path for one in grounding if one.match in ("near", "none")}
    if not lacking:
        return tuple(grounding)
    given = {path for check in checks for path in _given(check, grounding, answer) if path in lacking}
    return tuple(Grounding(one.path, "derived") if one.path in given else one for one in grounding)


def _given(check: SumCheck, grounding: Sequence[Grounding], answer: Any) -> list[str]:
    """The paths of the values that an equation gives."""
    left, equals, right = check.text.partition("==")
    if not equals or check.problem(answer) is not None:
        return []
    found = []
    for alone, other in ((left.strip(), right), (right.strip(), left)):
        if _NAME.fullmatch(alone) and _all_stand(set(_NAME.findall(other)) - _FUNCTIONS, grounding):
            path = ""
            for part in alone.split("."):
                path = pointer(path, part)
            found.append(path)
    return found


def _all_stand(names: set[str], grounding: Sequence[Grounding]) -> bool:
    """Whether there are values of all these names, and all of them stand in the document."""
    matches = [(_name(one.path), one.match) for one in grounding]
    return bool(names) and all(
        any(name == own for own, _ in matches) and all(match in GROUNDED for own, match in matches if own == name)
        for name in names
    )


def _name(path: str) -> str:
    """The name by which an equation calls the value at a place: without the indices of items."""
    return ".".join(part for part in path.split("/")[1:] if not part.isdecimal())
