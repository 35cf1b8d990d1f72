"""Turns each reply into a typed row or a dead letter. This is the only place that decides between the two.

No Beam and no I/O. The conversion to Arrow types happens here as well, so that writing cannot fail because of data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa

from kimi_beam.columnar import Documents, Replies, Results
from kimi_beam.results import rows
from kimi_beam.results.completeness import unmet_sums
from kimi_beam.results.ground_rows import GroundedAnswer, GroundRules, ground_rows
from kimi_beam.results.judging import Judged, judge, judge_all
from kimi_beam.results.restored_replies import original_of, restored_replies
from kimi_beam.schema import ADDITIONAL, OutputSchema
from kimi_beam.service.polling import OnMismatch
from kimi_beam.types.answer import AnswerReport, Completion, Usage
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document
from kimi_beam.types.extraction import ArrowRow, Extraction, Provenance
from kimi_beam.types.failure import Failure
from kimi_beam.types.grounding import Grounding
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import Ticket
from kimi_beam.wire.completions import decode_items
from kimi_beam.wire.matching import Matched, match, number_of, references
from kimi_beam.wire.usage import share_usage
from kimi_beam.wire.usual_reply import UsualItems


class BatchReplies(NamedTuple):
    """The replies of a finished batch."""

    replies: Replies
    """One reply for each document, in the order of the documents."""
    surplus: int
    """How many items answered none of the requests."""
    disputed: int
    """How many documents have an item with their reference but the number of another request."""


def replies_of_batch(
    batch_id: str,
    documents: Sequence[Document],
    items: Sequence[Any],
    usage: Usage | None,
    ticket: Ticket,
    *,
    answer_tool: str | None = None,
    submitted_as: tuple[str, int, Sequence[int]] | None = None,
    on_mismatch: OnMismatch = "keep",
) -> BatchReplies:
    """Makes exactly one reply for each document of a finished batch, also for documents without an item.

    Args:
        batch_id: The id of the batch, from which the references were made.
        documents: The documents of the batch, in the order of the requests.
        items: The items of the job, in any order.
        usage: The tokens of the whole job, None if the service did not state them.
        ticket: The job that the batch was submitted as.
        answer_tool: The function whose arguments are the answers; None if the texts are the answers.
        submitted_as: For a job that was submitted as another batch: that batch's id, its number of requests, and the
            positions of these documents among them. None if the job was submitted as this batch.
        on_mismatch: `Polling.on_mismatch`.
    """
    name, total, positions = submitted_as or (batch_id, len(documents), range(len(documents)))
    all_references, matched = references(name, total), Matched(())
    usual = items.by_column(all_references) if isinstance(items, UsualItems) and answer_tool is None else None
    if usual is None:
        matched = match(items, all_references)
        usual = decode_items(matched.items, answer_tool=answer_tool)
    results, stated = usual
    if matched.unmatched_reason:
        results = _replaced(results, _unmatched(matched))
    if matched.disputed and on_mismatch == "dead-letter":
        results = _replaced(results, {index: _disputed(matched, results, index) for index in matched.disputed})
    tokens = share_usage(usage, stated)
    if submitted_as is not None:  # the job was submitted as another batch, which may hold more documents
        if len(positions) != len(documents):
            raise ValueError(f"{len(documents)} documents at {len(positions)} places of a job")
        results, tokens = results.select(positions), tokens.select(positions)
    disputed = len(matched.disputed.intersection(positions)) if matched.disputed else 0
    answered = Replies(Documents.of(documents), results, tokens, [ticket] * len(documents))
    return BatchReplies(answered, matched.surplus, disputed)


def _unmatched(matched: Matched) -> dict[int, Failure]:
    """The failures of requests without an item in a job with unmatched items, which may be theirs."""
    message = f"{matched.unmatched_reason}, so that it cannot be told which of them is this document's"
    failure = Failure("infer", "malformed_item", message, retryable=True)
    return {index: failure for index, item in enumerate(matched.items) if item is None}


def _disputed(matched: Matched, results: Results, index: int) -> Failure:
    number = number_of(matched.items[index] or {})
    message = f"the item has the reference of request {index} of its job and the number {number}: it may be another's"
    answer = results.failures.get(index)
    return Failure(
        "infer", "malformed_item", message, retryable=True, raw=answer.raw if answer else results.texts[index]
    )


def _replaced(results: Results, failures: Mapping[int, Failure]) -> Results:
    """The results with failures in place of those at some indices."""
    kept = [None if index in failures else results.result_at(index) for index in range(len(results.texts))]
    columns = Results.of(kept)
    return columns._replace(failures={**results.failures, **failures})


@dataclass(frozen=True, slots=True)
class Question:
    """What the requests of a run have in common, and how their answers are read.

    Attributes:
        schema: The schema of the answers.
        model: The model that was asked for.
        prompt: The version of the prompt; None if it is not known.
        coerce: Whether values of invalid answers are changed to what the schema wants where there is one way only.
        redacts: Whether documents hold stand-ins in the places of redacted values.
        keeps_originals: Whether dead letters hold redacted documents as they came in.
    """

    schema: OutputSchema
    model: str
    prompt: str | None = None
    coerce: bool = False
    redacts: bool = False
    keeps_originals: bool = False
    ground: GroundRules | None = None
    """How answers are grounded; None if they are not."""


class Settled(NamedTuple):
    """The replies of one job, each of which is now a row or a dead letter."""

    rows: pa.RecordBatch
    """The rows, with the columns of `rows.file_schema`."""
    replies: Replies
    """All replies of the job."""
    reply_indices: list[int]
    """For each row, the index of its reply."""
    instances: list[Any]
    """For each row, the answer as a JSON value."""
    dead_letters: list[DeadLetter]
    groundings: list[tuple[Grounding, ...]] | None = None
    """For each row, where its values stand in its document; None if they were not grounded."""


def settle(
    all_replies: Iterable[Reply],
    question: Question,
    now: float,
    count_nulls: Callable[[int], None] = lambda _: None,
    read_again: Callable[[Sequence[Document]], list[Document]] = list,
) -> Settled:
    """Turns each reply into exactly one typed row or dead letter.

    Args:
        all_replies: The replies of one job.
        question: The schema and model of the requests.
        now: The time in Unix seconds, for `DeadLetter.failed_at`.
        count_nulls: Called with the number of nulls that were removed from an answer because they mean absent.
        read_again: Reads the files of documents that travel as references, which grounding needs.
    """
    asked = Replies.of(all_replies)
    columns = restored_replies(asked) if question.redacts else asked
    judged = columns.judged or judge_all(columns, question.schema, coerce=question.coerce)
    reply_indices, instances = list(judged.instances), list(judged.instances.values())
    dead = list(judged.failures.items())
    if judged.nulls:
        count_nulls(sum(judged.nulls.values()))
    if judged.repairs or question.schema.sum_checks:
        _report(columns, judged, question.schema)
    groundings = None
    if question.ground is not None:
        answered = _select(columns.documents, reply_indices)
        grounded = ground_rows(answered, instances, question.schema, question.ground, read_again)
        dead += _refused(columns, reply_indices, grounded)
        kept = [row for row, answer in enumerate(grounded) if answer.failure is None]
        reply_indices, grounded = [reply_indices[row] for row in kept], [grounded[row] for row in kept]
        instances, groundings = [answer.value for answer in grounded], [answer.grounding for answer in grounded]
        _report_nulls(columns, reply_indices, grounded)
    batch, bad = rows.convert(
        question.schema,
        _select(columns.documents.ids, reply_indices),
        instances,
        _select(columns.documents.metadata(), reply_indices),
        [_select(column, reply_indices) for column in _provenance_columns(columns, question)],
        groundings,
    )
    if bad:
        reasons = dict(bad)
        for row, reason in bad:
            index = reply_indices[row]
            failure = Failure("type", "type_mismatch", str(reason), raw=columns.results.texts[index])
            dead.append((index, failure))
        instances = [instance for row, instance in enumerate(instances) if row not in reasons]
        reply_indices = [index for row, index in enumerate(reply_indices) if row not in reasons]
        if groundings is not None:
            groundings = [one for row, one in enumerate(groundings) if row not in reasons]
    if columns is not asked:  # dead letters hold what the model was shown
        dead = [(index, _as_asked(asked, index, failure, question)) for index, failure in dead]
    letters = [dead_letter(asked[index], failure, question, now) for index, failure in dead]
    if question.keeps_originals:
        letters = [replace(letter, document=original_of(letter.document)) for letter in letters]
    return Settled(batch, columns, reply_indices, instances, letters, groundings)


def _as_asked(asked: Replies, index: int, failure: Failure, question: Question) -> Failure:
    """The failure of an answer with its stand-ins: one that was found in the restored answer may quote its values."""
    answer = asked.results.texts[index]
    document = asked.documents[index]
    if answer is None or document.redacted is None or failure.code == "redacted_value":
        return failure
    if failure.code == "ungrounded":
        return replace(failure, raw=answer)
    verdict = judge(answer, question.schema, coerce=question.coerce)
    if isinstance(verdict, Failure):
        return verdict
    return replace(failure, message="with its redacted values put back, the answer does not fit the schema", raw=answer)


def _report(columns: Replies, judged: Judged, schema: OutputSchema) -> None:
    """Reports repairs of answers, and the equations (``x-check``) that they do not fulfil.

    Those of documents in parts have been reported already.
    """
    found = dict(columns.reports)
    for index, instance in judged.instances.items():
        repairs, report = judged.repairs.get(index, ()), columns.reports.get(index)
        problems = unmet_sums(schema.sum_checks, instance) if report is None else ()
        if repairs or problems:
            report = report or AnswerReport()
            incomplete = (*report.incomplete, *problems)
            found[index] = replace(report, incomplete=incomplete, repairs=(*report.repairs, *repairs))
    columns.reports = found


def _refused(
    columns: Replies, indices: Sequence[int], grounded: Sequence[GroundedAnswer]
) -> Iterator[tuple[int, Failure]]:
    """The failures of answers with values that had to stand in the document and do not."""
    for index, answer in zip(indices, grounded, strict=True):
        if answer.failure is not None:
            yield index, replace(answer.failure, raw=columns.results.texts[index])


def _report_nulls(columns: Replies, indices: Sequence[int], grounded: Sequence[GroundedAnswer]) -> None:
    """Reports the values that became null because they stand nowhere in the document."""
    found = dict(columns.reports)
    for index, answer in zip(indices, grounded, strict=True):
        if answer.nulls:
            report = found.get(index) or AnswerReport()
            found[index] = replace(report, incomplete=(*report.incomplete, *answer.nulls))
    columns.reports = found


def _select(column: Sequence[Any], indices: Sequence[int]) -> Sequence[Any]:
    return column if len(indices) == len(column) else [column[index] for index in indices]


def free_repairs(settled: Settled) -> int:
    """How many repairs the rows needed that cost nothing."""
    reports = settled.replies.reports
    if not reports:  # true of nearly every job
        return 0
    some = (reports[index].repairs for index in settled.reply_indices if index in reports)
    return sum(repair.count for repairs in some for repair in repairs if repair.kind != "asked_again")


def rows_with_unnamed_keys(settled: Settled, schema: OutputSchema) -> int:
    """How many rows have a key that the schema allows but does not name."""
    additional = settled.rows.column(ADDITIONAL)
    if additional.null_count == len(additional):  # true of nearly every job
        return 0
    has_additional = additional.is_valid().to_pylist()
    return sum(
        schema.has_unnamed_keys(instance)
        for instance, is_there in zip(settled.instances, has_additional, strict=True)
        if is_there
    )


def extractions(settled: Settled, question: Question) -> Iterator[Extraction]:
    """The rows as `Extraction`s, each with its typed row."""
    for row, (index, instance) in enumerate(zip(settled.reply_indices, settled.instances, strict=True)):
        reply = settled.replies[index]
        document, completion = reply.document, reply.result
        assert isinstance(completion, Completion)
        provenance = _provenance(reply, completion, question)
        grounding = None if settled.groundings is None else settled.groundings[row]
        extraction = Extraction(document.id, instance, document.metadata, provenance, grounding)
        yield extraction.with_row(ArrowRow(settled.rows, row))


def dead_letter(reply: Reply, failure: Failure, question: Question, now: float) -> DeadLetter:
    """Makes the dead letter of a reply."""
    earlier, ticket = reply.document.earlier, reply.ticket
    if earlier.open is not None:  # the open request of an earlier run was not polled, so it stays open
        ticket = Ticket(earlier.open.request_id, ticket.attempts + 1)
    return DeadLetter(
        _without_failure(reply.document),
        failure,
        earlier.attempts + ticket.attempts,
        ticket.request_id,
        reply.usage,
        question.model,
        question.schema.hash,
        now,
        earlier.round,
        reply.open or earlier.open,
    )


def _without_failure(document: Document) -> Document:
    """A copy without the failure of reading, with which the document would never be sent, even after it was mended."""
    if document.failure is None:
        return document
    other = replace(document, failure=None)
    return other if document.file is None else other.with_file(document.file)


def _provenance_columns(columns: Replies, question: Question) -> list[Sequence[Any]]:
    """The same as `rows.provenance_columns`, made from the replies' columns without a `Provenance` for each."""
    documents, results, tokens, count = columns.documents, columns.results, columns.tokens, len(columns)
    tickets = columns.tickets
    attempts = zip(documents.attempts(), tickets, strict=True)
    return [
        documents.sources,
        [question.model] * count,
        results.models,
        [ticket.request_id for ticket in tickets],
        [earlier + ticket.attempts for earlier, ticket in attempts],
        tokens.prompt,
        tokens.cached,
        tokens.completion,
        [question.schema.hash] * count,
        [None if seconds is None else seconds * 1_000_000 for seconds in results.created],
        *rows.arrival_columns(documents.arrivals()),
        *rows.report_columns(
            [columns.reports.get(index) for index in range(count)] if columns.reports else [None] * count
        ),
        [question.prompt] * count,
    ]


def _provenance(reply: Reply, completion: Completion, question: Question) -> Provenance:
    return Provenance(
        reply.document.source,
        question.model,
        completion.model,
        reply.ticket.request_id,
        reply.document.earlier.attempts + reply.ticket.attempts,
        reply.usage,
        question.schema.hash,
        completion.created,
        reply.document.arrival,
        reply.report,
        question.prompt,
    )
