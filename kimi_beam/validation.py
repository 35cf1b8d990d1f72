"""Where good and bad part: a reply becomes an extraction or a dead letter, here and nowhere else.

Pure. The typed conversion happens here too, a job at a time, so that writing cannot fail on data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa

from kimi_beam import data_uris, jsontext, rows
from kimi_beam.answer_text import parse
from kimi_beam.columnar import Documents, Replies, Results
from kimi_beam.polling import OnMismatch
from kimi_beam.schema import ADDITIONAL, OutputSchema
from kimi_beam.schema.own_validators import RefusedError
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
from kimi_beam.wire.completions import decode_items
from kimi_beam.wire.matching import Matched, match, number_of, references
from kimi_beam.wire.usage import share_usage
from kimi_beam.wire.usual_reply import UsualItems


class Closed(NamedTuple):
    """A batch whose answers have come."""

    replies: Replies
    """One for each document, in the documents' order."""
    surplus: int
    """How many items answered nothing that was asked."""
    disputed: int
    """How many documents were answered by an item that has their reference and another's number."""


def replies(
    batch_id: str,
    documents: Sequence[Document],
    items: Sequence[Any],
    usage: Usage | None,
    ticket: Ticket,
    *,
    answer_tool: str | None = None,
    asked: tuple[str, int, Sequence[int]] | None = None,
    on_mismatch: OnMismatch = "keep",
) -> Closed:
    """Closes a batch by counting: asked = answered + failed + missing.

    Args:
        batch_id: Which batch; the references were made from it.
        documents: What was asked, in the order of the requests.
        items: What came back, in any order.
        usage: The tokens of the whole job, None where the service did not say.
        ticket: The job.
        answer_tool: The function whose arguments are the answers; None where texts are.
        asked: See `jobs.Job.asked`.
        on_mismatch: What becomes of an item whose number is that of another request than its reference.
    """
    name, total, positions = asked or (batch_id, len(documents), range(len(documents)))
    asked_for, matched = references(name, total), Matched(())
    usual = items.by_column(asked_for) if isinstance(items, UsualItems) and answer_tool is None else None
    if usual is None:
        matched = match(items, asked_for)
        usual = decode_items(matched.items, answer_tool=answer_tool)
    results, stated = usual
    if matched.unplaced:
        results = _replaced(results, _unplaced(matched))
    if matched.disputed and on_mismatch == "dead-letter":
        results = _replaced(results, {place: _disputed(matched, results, place) for place in matched.disputed})
    tokens = share_usage(usage, stated)
    if asked is not None:  # of a job that was submitted by another batch's name
        if len(positions) != len(documents):
            raise ValueError(f"{len(documents)} documents at {len(positions)} places of a job")
        results, tokens = results.select(positions), tokens.select(positions)
    came = Replies(Documents.of(documents), results, tokens, [ticket] * len(documents))
    return Closed(came, matched.surplus, len(matched.disputed.intersection(positions)) if matched.disputed else 0)


def _unplaced(matched: Matched) -> dict[int, Failure]:
    """What the requests without an item are given up with where there are items that may well be theirs."""
    told = f"{matched.unplaced}, so that it cannot be told which of them is this document's"
    failure = Failure("infer", "malformed_item", told, retryable=True)
    return {place: failure for place, item in enumerate(matched.items) if item is None}


def _disputed(matched: Matched, results: Results, place: int) -> Failure:
    number = number_of(matched.items[place] or {})
    told = f"the item has the reference of request {place} of its job and the number {number}: it may be another's"
    answer = results.failures.get(place)
    return Failure("infer", "malformed_item", told, retryable=True, raw=answer.raw if answer else results.texts[place])


def _replaced(results: Results, failures: Mapping[int, Failure]) -> Results:
    """The same results with failures in some places."""
    each = [None if place in failures else results.at(place) for place in range(len(results.texts))]
    same = Results.of(each)
    return same._replace(failures={**results.failures, **failures})


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of whom: the same for all replies of a run."""

    schema: OutputSchema
    model: str


class Settled(NamedTuple):
    """The replies of one job, parted: each is a row or a dead letter."""

    rows: pa.RecordBatch
    """Of `rows.file_schema`."""
    replies: Replies
    """All of them."""
    good: list[int]
    """The place of each row's reply."""
    instances: list[Any]
    """The answer of each row."""
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
    came = Replies.of(all_replies)
    good: list[int] = []
    instances: list[Any] = []
    dead: list[DeadLetter] = []
    is_valid, has_class = asked.schema.is_valid, asked.schema.has_class
    for place, text in enumerate(came.results.texts):
        if text is not None and data_uris.is_changed(text):
            document = came.documents[place]
            text = data_uris.put_right(text, f"{document.text} {document.metadata}")
        if text is not None and not has_class and (value := jsontext.loads_whole(text)) is not None and is_valid(value):
            good.append(place)
            instances.append(value)
            continue
        verdict = came.results.failures[place] if text is None else judge(text, asked.schema)
        if isinstance(verdict, Failure):
            dead.append(dead_letter(came[place], verdict, asked, now))
        else:
            good.append(place)
            instances.append(verdict.value)
            if verdict.nulls:
                count_nulls(verdict.nulls)
    batch, bad = rows.convert(
        asked.schema,
        _picked(came.documents.ids, good),
        instances,
        _picked(came.documents.metadata(), good),
        [_picked(column, good) for column in _provenance_columns(came, asked)],
    )
    if bad:
        reasons = dict(bad)
        for index, reason in bad:
            failure = Failure("type", "type_mismatch", str(reason), raw=came.results.texts[good[index]])
            dead.append(dead_letter(came[good[index]], failure, asked, now))
        instances = [one for index, one in enumerate(instances) if index not in reasons]
        good = [place for index, place in enumerate(good) if index not in reasons]
    return Settled(batch, came, good, instances, dead)


def _picked(column: Sequence[Any], places: Sequence[int]) -> Sequence[Any]:
    return column if len(places) == len(column) else [column[place] for place in places]


def rows_with_unnamed_keys(settled: Settled, schema: OutputSchema) -> int:
    """How many rows hold a key that the schema allows but does not name."""
    beside = settled.rows.column(ADDITIONAL)
    if beside.null_count == len(beside):  # as it is of nearly every job
        return 0
    there = beside.is_valid().to_pylist()
    return sum(
        schema.has_unnamed_keys(instance)
        for instance, is_there in zip(settled.instances, there, strict=True)
        if is_there
    )


def extractions(settled: Settled, asked: Asked) -> Iterator[Extraction]:
    """What was settled, row by row; each comes with its typed row."""
    for index, (place, instance) in enumerate(zip(settled.good, settled.instances, strict=True)):
        reply = settled.replies[place]
        document, completion = reply.document, reply.result
        assert isinstance(completion, Completion)
        extraction = Extraction(document.id, instance, document.metadata, _provenance(reply, completion, asked))
        yield extraction.with_row(ArrowRow(settled.rows, index))


class Instance(NamedTuple):
    """A valid answer."""

    value: Any
    """What the row holds: what the schema's class gives back for the answer, where it has one."""
    nulls: int
    """How many nulls in it were taken as absent: what is sent asks for null where an optional property has no value."""


def judge(text: str, schema: OutputSchema) -> Instance | Failure:
    """Reads and validates one answer; why it is none, where it is none."""
    try:
        instance = parse(text)
    except ValueError as e:
        return Failure("parse", "not_json", f"the answer is not JSON: {e}", retryable=True, raw=text)
    try:
        with contextlib.suppress(RefusedError):
            return Instance(schema.given_back(instance), 0)
        instance, nulls = schema.without_sent_nulls(instance)
        if nulls:
            with contextlib.suppress(RefusedError):
                return Instance(schema.given_back(instance), nulls)
        reason = schema.explain(instance)
    except jsontext.NoJsonError as e:
        return Failure("type", "type_mismatch", str(e), raw=text)
    except (ValueError, RecursionError, MemoryError) as e:
        reason = f"cannot be validated: {e}"
    return Failure("validate", "schema_violation", reason, retryable=True, raw=text)


def dead_letter(reply: Reply, failure: Failure, asked: Asked, now: float) -> DeadLetter:
    """The dead letter of a reply."""
    earlier, ticket = reply.document.earlier, reply.ticket
    if earlier.open is not None:  # nobody has got round to it: it is as open as before
        ticket = Ticket(earlier.open.request_id, ticket.attempts + 1)
    return DeadLetter(
        _without_failure(reply.document),
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


def _without_failure(document: Document) -> Document:
    """The document as it can be asked for once it is mended: with a failure of its own it would never be sent."""
    if document.failure is None:
        return document
    other = replace(document, failure=None)
    return other if document.file is None else other.with_file(document.file)


def _provenance_columns(replies_: Replies, asked: Asked) -> list[Sequence[Any]]:
    """What `rows.provenance_columns` makes of the provenances, without making them."""
    documents, results, tokens, count = replies_.documents, replies_.results, replies_.tokens, len(replies_)
    tickets = replies_.tickets
    attempts = zip(documents.attempts(), tickets, strict=True)
    return [
        documents.sources,
        [asked.model] * count,
        results.models,
        [ticket.request_id for ticket in tickets],
        [earlier + ticket.attempts for earlier, ticket in attempts],
        tokens.prompt,
        tokens.cached,
        tokens.completion,
        [asked.schema.hash] * count,
        [None if seconds is None else seconds * 1_000_000 for seconds in results.created],
        *rows.arrival_columns(documents.arrivals()),
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
