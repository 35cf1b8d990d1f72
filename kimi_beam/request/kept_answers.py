"""Which answer counts of those for a document that was asked for again: what was right in an earlier one stays.

Of the next answer only those values are taken that were in doubt, if that is no worse than taking it as a whole. A
valid answer whose sums do not add up (``x-check``) stays unless the next one makes fewer of them fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from kimi_beam.results.answer_text import parse
from kimi_beam.results.judging import Instance, misfit, unmasked
from kimi_beam.results.repaired_values import differences, places, with_refused_from
from kimi_beam.schema import OutputSchema, Violation, jsontext
from kimi_beam.schema.sum_checks import SumCheck, unmet_checks
from kimi_beam.types.answer import Completion
from kimi_beam.types.earlier_runs import RefusedAnswer
from kimi_beam.types.failure import Code, Failure
from kimi_beam.types.reply import Reply

Judge: TypeAlias = Callable[[Reply], "Instance | Failure"]

HAVE_VALUES: frozenset[Code] = frozenset({"schema_violation", "type_mismatch"})
"""Failures of answers that were read, so that some of their values may be right."""


def kept_before(refused: RefusedAnswer) -> str | None:
    """The text of the answer so far whose right values stay; None if none could be read."""
    if refused.kept is not None:
        return refused.kept.text
    return refused.failure.raw if refused.failure.code in HAVE_VALUES else None


def kept_reply(reply: Reply, schema: OutputSchema, judge: Judge) -> Reply:
    """The reply with the answer that counts; as it is if it has none that can be read, or no earlier one could be.

    Args:
        reply: The last reply for a document that was asked for again.
        schema: The schema of its answer.
        judge: Whether a reply is valid.
    """
    refused, answer = reply.document.earlier.refused, reply.result
    before = None if refused is None else kept_before(refused)
    if refused is None or before is None or not isinstance(answer, Completion):
        return reply
    verdict = judge(reply)
    try:
        first, second = parse(before).value, parse(unmasked(answer.text, reply.document)).value
        if isinstance(verdict, Instance) and not schema.has_class:
            second = verdict.value  # without what a wrapping puts around it
        mixed = with_refused_from(first, second, _in_doubt(first, second, schema))
        text = jsontext.dumps(mixed).decode()
    except (TypeError, ValueError, RecursionError):
        return reply
    together = reply if jsontext.same(mixed, second) else replace(reply, result=replace(answer, text=text))
    candidates = [together, reply]
    if refused.kept is not None:
        candidates.insert(0, replace(reply, result=refused.kept))
    ranks = [_rank(one, schema, judge(one)) for one in candidates]
    if refused.kept is not None and ranks[0][0]:  # it was kept for its values, and is refused itself
        candidates, ranks = candidates[1:], ranks[1:]
    return candidates[ranks.index(min(ranks))]


def changed_places(refused: RefusedAnswer, reply: Reply, instance: Instance, schema: OutputSchema) -> Iterator[str]:
    """The JSON Pointers of values in a valid answer that differ from the first answer that was read, if one was.

    Args:
        refused: What was refused before.
        reply: The reply with the answer.
        instance: The answer.
        schema: Its schema.
    """
    before, answer = refused.first or kept_before(refused), reply.result
    if before is None or not isinstance(answer, Completion):
        return
    value = parse(unmasked(answer.text, reply.document)).value if schema.has_class else instance.value
    first = schema.without_sent_nulls(parse(before).value)[0]
    yield from differences(first, schema.without_sent_nulls(value)[0])


def violations(value: Any, schema: OutputSchema) -> list[Violation]:
    """Why an answer is refused. That it states null where it was asked to is no reason."""
    found = schema.validate(schema.without_sent_nulls(value)[0])
    wrong = None if found else misfit(schema, value)
    return found if wrong is None else [wrong]


def unmet_problems(value: Any, schema: OutputSchema) -> Iterator[tuple[str, str]]:
    """The equations that a valid answer does not fulfil, at the JSON Pointer of each value or list that they name."""
    for check in unmet_checks(schema.sum_checks, value):
        pointers = (next(places(value, None, path), None) for path in _paths(check))
        for at in dict.fromkeys(at for at in pointers if at is not None):
            yield at, f"{check.problem(value)} (x-check)"


def _in_doubt(first: Any, second: Any, schema: OutputSchema) -> dict[str, set[str]]:
    """The values of an answer that may be wrong, by their JSON Pointers, with the keywords that say so."""
    keywords = dict[str, set[str]]()
    for one in violations(first, schema):
        keywords.setdefault(one.path, set()).add(one.keyword)
    if not keywords:
        for check in unmet_checks(schema.sum_checks, first):
            for at in (at for path in _paths(check) for at in places(first, second, path)):
                keywords.setdefault(at, set()).add("x-check")
    return keywords


def _paths(check: SumCheck) -> list[tuple[str, ...]]:
    """The paths of an equation, in the order in which it names them."""
    return [tuple(path.split(".")) for path in sorted(check.paths, key=check.text.index)]


def _rank(reply: Reply, schema: OutputSchema, verdict: Instance | Failure) -> tuple[int, int]:
    """How far an answer is from a valid one whose sums add up: the least is the best."""
    if isinstance(verdict, Instance):
        is_whole = reply.document.part is None
        return 0, sum(1 for _ in unmet_checks(schema.sum_checks, verdict.value)) if is_whole else 0
    if verdict.code in HAVE_VALUES and verdict.raw is not None:
        return 1, len(violations(parse(verdict.raw).value, schema))
    return 2, 0
