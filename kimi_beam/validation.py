"""Where good and bad part: a reply becomes an extraction or a dead letter, here and nowhere else.

Pure. The typed conversion happens here too, a job at a time, so that writing cannot fail on data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kimi_beam import jsontext, rows
from kimi_beam.schema import OutputSchema
from kimi_beam.types import (
    ArrowRow,
    Completion,
    DeadLetter,
    Document,
    Extraction,
    Failure,
    Outcome,
    Provenance,
    Reply,
    Ticket,
    Usage,
)
from kimi_beam.wire.completions import decode_item
from kimi_beam.wire.protocol import match
from kimi_beam.wire.usage import share_usage

# Linear on any text: the white space inside the fence is JSON's own to skip.
_FENCE = re.compile(r"```[A-Za-z]*[ \t\r]*\n(.*?)```", re.DOTALL)


def references(batch_id: str, count: int) -> list[str]:
    """The ``external_reference`` of each request of a batch: unique within the run, the same when it is sent again."""
    return [f"{batch_id}-{index}" for index in range(count)]


def replies(
    batch_id: str,
    documents: Sequence[Document],
    items: Sequence[Any],
    usage: Usage | None,
    ticket: Ticket,
    *,
    answer_tool: str | None = None,
    asked: tuple[str, int, Sequence[int]] | None = None,
) -> tuple[list[Reply], int]:
    """Closes a batch by counting: asked = answered + failed + missing.

    Args:
        batch_id: Which batch; the references were made from it.
        documents: What was asked, in the order of the requests.
        items: What came back, in any order.
        usage: The tokens of the whole job, None where the service did not say.
        ticket: The job.
        answer_tool: The function whose arguments are the answers; None where texts are.
        asked: See `dispatch.Job.asked`.

    Returns:
        One reply a document, in the documents' order; and how many items answered nothing that was asked.
    """
    name, total, positions = asked or (batch_id, len(documents), range(len(documents)))
    found, surplus = match(items, references(name, total))
    decoded = [decode_item(item, answer_tool=answer_tool) for item in found]
    shared = share_usage(usage, [tokens for _, tokens in decoded])
    return [
        Reply(document, decoded[position][0], shared[position], ticket)
        for document, position in zip(documents, positions, strict=True)
    ], surplus


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of whom: the same for all replies of a run."""

    schema: OutputSchema
    model: str


def settle(
    all_replies: Iterable[Reply], asked: Asked, now: float, count_nulls: Callable[[int], None] = lambda _: None
) -> Iterator[Outcome]:
    """Turns each reply into exactly one outcome; extractions come with their typed row.

    Args:
        all_replies: The replies of one job.
        asked: What was asked.
        now: Unix seconds, for the dead letters.
        count_nulls: Told how many nulls of an answer were taken as absent.
    """
    good: list[tuple[Reply, Completion, Any]] = []
    for reply in all_replies:
        verdict = judge(reply.result, asked.schema)
        if isinstance(verdict, Failure):
            yield dead_letter(reply, verdict, asked, now)
        else:
            completion, instance, nulls = verdict
            if nulls:
                count_nulls(nulls)
            good.append((reply, completion, instance))
    if not good:
        return
    provenance = [_provenance(reply, completion, asked) for reply, completion, _ in good]
    batch, bad = rows.convert(
        asked.schema,
        [reply.document.id for reply, _, _ in good],
        [instance for _, _, instance in good],
        [reply.document.metadata for reply, _, _ in good],
        provenance,
    )
    reasons = dict(bad)
    row = 0
    for index, (reply, completion, instance) in enumerate(good):
        if index in reasons:
            failure = Failure("type", "type_mismatch", str(reasons[index]), raw=completion.text)
            yield dead_letter(reply, failure, asked, now)
        else:
            document = reply.document
            extraction = Extraction(document.id, instance, document.metadata, provenance[index])
            yield extraction.with_row(ArrowRow(batch, row))
            row += 1


def judge(result: Completion | Failure, schema: OutputSchema) -> tuple[Completion, Any, int] | Failure:
    """Reads and validates one answer.

    Returns:
        The completion, the instance that it holds, and how many nulls in it were taken as absent: what is sent asks for
        null where an optional property has no value. Or why it holds none.
    """
    if isinstance(result, Failure):
        return result
    try:
        instance = parse(result.text)
    except ValueError as e:
        return Failure("parse", "not_json", f"the answer is not JSON: {e}", retryable=True, raw=result.text)
    try:
        if schema.is_valid(instance):
            return result, instance, 0
        instance, nulls = schema.without_sent_nulls(instance)
        if nulls and schema.is_valid(instance):
            return result, instance, nulls
        reason = schema.explain(instance)
    except (ValueError, RecursionError, MemoryError) as e:
        reason = f"cannot be validated: {e}"
    return Failure("validate", "schema_violation", reason, retryable=True, raw=result.text)


def parse(text: str) -> Any:
    """Reads an answer, past the habits of models: a fence around it, prose before and after it, padding.

    Raises:
        ValueError: There is no JSON in it, or an object that has one key twice.
    """
    # Some models put their reasoning into the answer, between tags; it may hold JSON of its own.
    text = text.rpartition("</think>")[2].strip().removeprefix("\ufeff")
    try:
        return jsontext.loads_unambiguously(text)
    except jsontext.RepeatedKeyError:
        raise
    except ValueError as e:
        reason = e
    for candidate in _candidates(text):
        try:
            return jsontext.loads_unambiguously(candidate)
        except jsontext.RepeatedKeyError:
            raise
        except ValueError:
            continue
    raise reason


def _candidates(text: str) -> Iterator[str]:
    fence = _FENCE.search(text)
    if fence:
        yield fence.group(1)
    brace, bracket = text.find("{"), text.find("[")
    if bracket >= 0:
        end = text.rfind("]") + 1
        # Prose may hold a bracket of its own ("the items [1] are"): an array of an answer holds what comes after it.
        if brace < 0 or bracket < brace < end:
            yield text[bracket:end]
    # A brace inside an array that was cut off is a part of the answer, not the answer.
    if brace >= 0 and text.count("[", 0, brace) <= text.count("]", 0, brace):
        yield text[brace : text.rfind("}") + 1]


def dead_letter(reply: Reply, failure: Failure, asked: Asked, now: float) -> DeadLetter:
    """The dead letter of a reply."""
    earlier, ticket = reply.document.earlier, reply.ticket
    if earlier.open is not None:  # nobody has got round to it: it is as open as before
        ticket = Ticket(earlier.open.request_id, ticket.attempts + 1)
    return DeadLetter(
        reply.document,
        failure,
        earlier.attempts + ticket.attempts,
        ticket.request_id,
        reply.usage,
        asked.model,
        asked.schema.hash,
        now,
        earlier.round,
        reply.open or earlier.open,
    )


def _provenance(reply: Reply, completion: Completion, asked: Asked) -> Provenance:
    return Provenance(
        reply.document.source,
        asked.model,
        completion.model,
        reply.ticket.request_id,
        reply.document.earlier.attempts + reply.ticket.attempts,
        reply.usage,
        asked.schema.hash,
        completion.created,
    )
