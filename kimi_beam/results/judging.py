"""Decides whether the text of an answer is valid, after the repairs that need no second request.

First the text is read as JSON (`answer_text`), then validated. Only if it is invalid, it may be a wrapping
(`wrappings`), and with ``coerce`` values may be changed by the schema (`kimi_beam.schema.coercion`). Each step is taken
only where exactly one reading is valid, and every one is listed beside the answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from kimi_beam.columnar import Replies
from kimi_beam.results.answer_text import parse
from kimi_beam.results.mended_json import BrokenOffError, Path
from kimi_beam.results.wrappings import Unwrapped, Wrappings
from kimi_beam.schema import OutputSchema, Violation, jsontext
from kimi_beam.schema.additional import pointer
from kimi_beam.schema.own_validators import RefusedError
from kimi_beam.types.answer import Repair
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.wire import sent_text

T = TypeVar("T")


class Instance(NamedTuple):
    """A valid answer as the row holds it."""

    value: Any
    """The answer, or the value that the schema's class makes of it."""
    nulls: int
    """How many nulls were removed because they mean absent (`OutputSchema.without_sent_nulls`)."""
    repairs: tuple[Repair, ...] = ()
    """What was done so that it is valid."""


class Judged(NamedTuple):
    """The answers of some replies, each of which is an instance or a failure."""

    instances: Mapping[int, Any]
    """By index, the values of the valid answers, in the order of the replies."""
    failures: Mapping[int, Failure]
    """By index, why there is no valid answer."""
    nulls: Mapping[int, int]
    """By index, how many nulls were removed because they mean absent."""
    repairs: Mapping[int, tuple[Repair, ...]]
    """By index, the repairs of the answers that needed some."""

    def select(self, new: Mapping[int, int]) -> Judged:
        """What is known of some of the replies.

        Args:
            new: For each of these the index that it has now, by the one that it had.
        """

        def chosen(column: Mapping[int, T]) -> dict[int, T]:
            return {new[old]: one for old, one in column.items() if old in new}

        return Judged(chosen(self.instances), chosen(self.failures), chosen(self.nulls), chosen(self.repairs))


def judge_all(replies: Replies, schema: OutputSchema, *, coerce: bool = False) -> Judged:
    """Parses and validates the answers of replies: at a glance where an answer is valid as it stands."""
    instances, failures, repairs = dict[int, Any](), dict[int, Failure](), dict[int, tuple[Repair, ...]]()
    nulls = dict[int, int]()
    is_valid, has_class = schema.is_valid, schema.has_class
    for index, text in enumerate(replies.results.texts):
        if text is None:
            failures[index] = replies.results.failures[index]
            continue
        if sent_text.may_be_altered(text):
            text = unmasked(text, replies.documents[index])
        if not has_class and (value := jsontext.loads_fast(text)) is not None and is_valid(value):
            instances[index] = value
            continue
        verdict = judge(text, schema, coerce=coerce)
        if isinstance(verdict, Failure):
            failures[index] = verdict
            continue
        instances[index] = verdict.value
        if verdict.nulls:
            nulls[index] = verdict.nulls
        if verdict.repairs:
            repairs[index] = verdict.repairs
    if schema.has_column_types:
        indices = list(instances)
        for row, wrong in schema.to_arrow(list(instances.values()))[1]:
            index = indices[row]
            failures[index] = _misfitting(wrong, replies.results.texts[index])
            for known in (instances, nulls, repairs):
                known.pop(index, None)
    return Judged(instances, failures, nulls, repairs)


def unmasked(text: str, document: Document) -> str:
    """The text of an answer, with all that was altered in the document's request as the document has it."""
    return sent_text.restored(text, f"{document.text} {document.metadata}") if sent_text.may_be_altered(text) else text


def judge(text: str, schema: OutputSchema, *, coerce: bool = False) -> Instance | Failure:
    """Parses and validates one answer, and returns its value or the failure.

    That a column of the user's choice cannot hold a value is found here too, so that it can be asked for again.

    Args:
        text: The text that the model wrote.
        schema: The schema.
        coerce: Whether values are changed to what the schema wants where there is one way only.
    """
    wrappings = Wrappings(schema)
    try:
        found = parse(text, wrappings.is_schema)
    except BrokenOffError as e:
        return Failure("parse", "truncated", f"the answer is cut off: {e}", retryable=True, raw=text)
    except ValueError as e:
        return Failure("parse", "not_json", f"the answer is not JSON: {e}", retryable=True, raw=text)
    try:
        whole = Unwrapped(found.value, ())
        valid = _valid(whole, found.nans, schema)
        if valid is not None and wrappings.is_schema(found.value):
            return Failure("parse", "not_json", "the answer is the schema itself", retryable=True, raw=text)
        if valid is not None:
            return _fitting(valid._replace(repairs=(*found.repairs, *valid.repairs)), schema, text)
        readings = list(wrappings.inside(found.value))
        for candidates, changes in ((readings, False), ([whole, *readings], True)):
            if changes and not coerce:
                continue
            tried = [_valid(one, found.nans, schema, coerce=changes) for one in candidates]
            several = [one for one in tried if one is not None]
            if len(several) == 1:
                return _fitting(several[0]._replace(repairs=(*found.repairs, *several[0].repairs)), schema, text)
        reason = schema.explain(schema.without_sent_nulls(found.value)[0])
        if not reason:
            reason = f"NaN stands at {_pointer(found.nans[0])}, where the schema does not allow null"
    except jsontext.NoJsonError as e:
        return Failure("type", "type_mismatch", str(e), raw=text)
    except (ValueError, RecursionError, MemoryError) as e:
        reason = f"cannot be validated: {e}"
    return Failure("validate", "schema_violation", reason, retryable=True, raw=text)


def misfit(schema: OutputSchema, value: Any) -> Violation | None:
    """Why a column of the user's choice (``x-arrow-type``) cannot hold a value of an answer; None if all can."""
    refused = schema.to_arrow([value])[1] if schema.has_column_types else ()
    return refused[0][1] if refused else None


def _fitting(valid: Instance, schema: OutputSchema, text: str) -> Instance | Failure:
    wrong = misfit(schema, valid.value)
    return valid if wrong is None else _misfitting(wrong, text)


def _misfitting(wrong: Violation, text: str | None) -> Failure:
    return Failure("type", "type_mismatch", str(wrong), raw=text)


def judge_part(text: str, schema: OutputSchema, *, coerce: bool = False) -> Instance | Failure:
    """Parses and validates the answer for a part of a document: null says that the part states nothing.

    Args:
        text: The text that the model wrote.
        schema: The schema for parts.
        coerce: The same as for `judge`.
    """
    return Instance(None, 0) if text.strip() == "null" else judge(text, schema, coerce=coerce)


def _valid(one: Unwrapped, nans: Sequence[Path], schema: OutputSchema, *, coerce: bool = False) -> Instance | None:
    """A value as an instance; None if it is invalid, or if NaN stands in it where null is not allowed."""
    depth = len(one.path)
    if any(nan[:depth] != one.path for nan in nans):
        return None
    inner = [nan[depth:] for nan in nans]
    repairs = [*([Repair("wrapping", count=depth)] if depth else []), *(Repair("nan", _pointer(nan)) for nan in inner)]
    instance = one.value
    if coerce:
        instance, changes = schema.coercion.coerced(instance)
        if not changes:
            return None
        repairs += (Repair(kind, at) for kind, at in changes)
    nulls = 0
    with contextlib.suppress(RefusedError):
        return Instance(schema.row_value(instance), nulls, tuple(repairs))
    instance, nulls = schema.without_sent_nulls(instance)
    if nulls and all(_is_null(instance, nan) for nan in inner):
        with contextlib.suppress(RefusedError):
            return Instance(schema.row_value(instance), nulls, tuple(repairs))
    return None


def _is_null(value: Any, path: Path) -> bool:
    """Whether null stands at a place."""
    for token in path:
        if isinstance(value, dict) and token not in value:
            return False
        value = value[token]
    return value is None


def _pointer(path: Iterable[str | int]) -> str:
    at = ""
    for token in path:
        at = pointer(at, token)
    return at
