"""Grounds the answers of the documents that are settled together, and refuses those that do not stand in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from kimi_beam.grounding.computed import with_computed
from kimi_beam.grounding.demands import Demand, nullable, parts_of, unmet, with_null
from kimi_beam.schema import OutputSchema
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.grounding import GROUNDED, Grounding

if TYPE_CHECKING:
    from kimi_beam.grounding.text_index import TextIndex

_READ_TOGETHER = 32
"""So many documents that travel as references are read again together, and are in memory at once."""
_NAMED = 10
"""So many values that stand nowhere are named in a message."""


@dataclass(frozen=True)
class GroundRules:
    """How answers are grounded.

    Attributes:
        metadata_keys: The keys of the metadata that the model was shown.
        examples: The examples that the model was shown with every document, as texts.
        demands: The values that have to stand in the document.
    """

    metadata_keys: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    demands: tuple[Demand, ...] = ()

    @cached_property
    def example_index(self) -> TextIndex | None:
        """The examples; None if there were none."""
        from kimi_beam.grounding.text_index import TextIndex  # late, as in `ground_rows`

        return TextIndex("\n".join(self.examples)) if self.examples else None


class GroundedAnswer(NamedTuple):
    """An answer whose values were looked for in its document."""

    value: Any
    """The answer, with null for values that had to stand in the document and do not, where that was said."""
    grounding: tuple[Grounding, ...]
    """Where its values stand."""
    failure: Failure | None = None
    """Why it is refused; None if it is not."""
    nulls: tuple[str, ...] = ()
    """What became null, one line each."""


def ground_rows(
    documents: Sequence[Document],
    answers: Sequence[Any],
    schema: OutputSchema,
    rules: GroundRules,
    read_again: Callable[[Sequence[Document]], list[Document]],
) -> list[GroundedAnswer]:
    """Where the values of each answer stand in its document.

    Args:
        documents: The documents.
        answers: Their answers.
        schema: The schema of the answers.
        rules: How they are grounded.
        read_again: Reads the files of documents that travel as references.
    """
    from kimi_beam.grounding.ground import ground  # late: a run that does not ground does not wait for its patterns

    found: list[GroundedAnswer] = []
    for first in range(0, len(documents), _READ_TOGETHER):
        some = slice(first, first + _READ_TOGETHER)
        for answer, document in zip(answers[some], read_again(documents[some]), strict=True):
            grounding = ground(answer, document, schema.places, rules.metadata_keys, rules.example_index)
            if schema.sum_checks:
                grounding = with_computed(grounding, schema.sum_checks, answer)
            found.append(_judged(GroundedAnswer(answer, grounding), schema, rules.demands))
    return found


def _judged(answer: GroundedAnswer, schema: OutputSchema, demands: Sequence[Demand]) -> GroundedAnswer:
    """The answer by what is demanded of it."""
    nowhere = [one.path for one in answer.grounding if one.match not in GROUNDED] if demands else []
    missing = dict(unmet(nowhere, demands))
    if not missing:
        return answer
    value, refused, nulls = answer.value, list[str](), list[str]()
    for path, becomes_null in missing.items():
        parts = parts_of(path)
        if becomes_null and nullable(parts, schema.places):
            value = with_null(value, parts)
            nulls.append(path)
        else:
            refused.append(path)
    if not refused and not schema.is_valid(value):
        refused = nulls
    if refused:
        return answer._replace(failure=_ungrounded(refused, answer.grounding))
    left = tuple(one for one in answer.grounding if one.path not in missing)
    lines = tuple(f"{path or '/'}: null, as its value stands nowhere in the document" for path in nulls)
    return GroundedAnswer(value, left, None, lines)


def _ungrounded(paths: Sequence[str], grounding: Sequence[Grounding]) -> Failure:
    """The failure of an answer. It names places and no values, which may be of those that are redacted."""
    matches = {one.path: one.match for one in grounding}
    named = ", ".join(f"{path or '/'} ({matches[path]})" for path in paths[:_NAMED])
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return Failure(
        "validate", "ungrounded", f"stands nowhere in the document: {named}{more} (--require-grounding)", retryable=True
    )
