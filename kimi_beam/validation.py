"""Where good and bad part: a reply becomes an extraction or a dead letter, here and nowhere else.

Pure. The typed conversion happens here too, a job at a time, so that writing cannot fail on data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from kimi_beam import jsontext, rows
from kimi_beam.schema import OutputSchema
from kimi_beam.types import (
    ArrowRow,
    Completion,
    DeadLetter,
    Document,
    Extraction,
    Failure,
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


class Good(NamedTuple):
    """A reply whose answer is valid."""

    reply: Reply
    completion: Completion
    instance: Any


class Settled(NamedTuple):
    """The replies of one job, parted: each is a row or a dead letter."""

    rows: pa.RecordBatch
    """Of `rows.file_schema`."""
    good: list[Good]
    """Of each row."""
    dead_letters: list[DeadLetter]


def settle(
    all_replies: Iterable[Reply], asked: Asked, now: float, count_nulls: Callable[[int], None] = lambda _: None
) -> Settled:
    """Turns each reply into exactly one typed row or dead letter.

    Args:
        all_replies: The replies of one job.
        asked: What was asked.
        now: Unix seconds, for the dead letters.
        count_nulls: Told how many nulls of an answer were taken as absent.
    """
    good: list[Good] = []
    dead: list[DeadLetter] = []
    for reply in all_replies:
        verdict = judge(reply.result, asked.schema)
        if isinstance(verdict, Failure):
            dead.append(dead_letter(reply, verdict, asked, now))
        else:
            completion, instance, nulls = verdict
            if nulls:
                count_nulls(nulls)
            good.append(Good(reply, completion, instance))
    documents = [one.reply.document for one in good]
    batch, bad = rows.convert(
        asked.schema,
        [document.id for document in documents],
        [one.instance for one in good],
        [document.metadata for document in documents],
        _provenance_columns(good, asked),
    )
    if bad:
        reasons = dict(bad)
        for index, reason in bad:
            failure = Failure("type", "type_mismatch", str(reason), raw=good[index].completion.text)
            dead.append(dead_letter(good[index].reply, failure, asked, now))
        good = [one for index, one in enumerate(good) if index not in reasons]
    return Settled(batch, good, dead)


def extractions(settled: Settled, asked: Asked) -> Iterator[Extraction]:
    """What was settled, row by row; each comes with its typed row."""
    for index, (reply, completion, instance) in enumerate(settled.good):
        document = reply.document
        extraction = Extraction(document.id, instance, document.metadata, _provenance(reply, completion, asked))
        yield extraction.with_row(ArrowRow(settled.rows, index))


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


def _provenance_columns(good: Sequence[Good], asked: Asked) -> list[list[Any]]:
    """What `rows.provenance_columns` makes of the provenances, without making them."""
    replies_ = [one.reply for one in good]
    created = [one.completion.created for one in good]
    return [
        [reply.document.source for reply in replies_],
        [asked.model] * len(good),
        [one.completion.model for one in good],
        [reply.ticket.request_id for reply in replies_],
        [reply.document.earlier.attempts + reply.ticket.attempts for reply in replies_],
        [reply.usage.prompt_tokens for reply in replies_],
        [reply.usage.cached_tokens for reply in replies_],
        [reply.usage.completion_tokens for reply in replies_],
        [asked.schema.hash] * len(good),
        [None if seconds is None else seconds * 1_000_000 for seconds in created],
        *rows.arrival_columns([reply.document.arrival for reply in replies_]),
    ]


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
        reply.document.arrival,
    )
