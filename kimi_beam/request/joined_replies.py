"""The replies of all parts of a document as one reply for the document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import reduce
from operator import add

from kimi_beam.request.batches import Spent
from kimi_beam.request.splitting import joined
from kimi_beam.results.answer_codes import has_answer
from kimi_beam.results.completeness import Shortfall, shortfalls, unmet_sums
from kimi_beam.results.judging import judge, judge_part, unmasked
from kimi_beam.results.merging import PartAnswer, merge, with_lists_of
from kimi_beam.results.shown_rows import tables
from kimi_beam.results.unanswered_lists import unanswered_lists
from kimi_beam.results.whole_answers import lack
from kimi_beam.schema import OutputSchema, jsontext
from kimi_beam.types.answer import AnswerReport, Completion, Repair, RepairKind, Usage
from kimi_beam.types.document import Document, Part
from kimi_beam.types.earlier_runs import Earlier, EarlierPart
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import Ticket
from kimi_beam.wire import sent_text


def usable(reply: Reply, schema: OutputSchema, *, coerce: bool) -> Reply:
    """The reply of a part with its answer as plain JSON, or with the failure of an answer that cannot be merged.

    Args:
        reply: The reply as it came.
        schema: The schema for parts.
        coerce: `kimi_beam.results.judging.judge`.
    """
    answer = reply.result
    if not isinstance(answer, Completion):
        return reply
    verdict = judge_part(unmasked(answer.text, reply.document), schema, coerce=coerce)
    if isinstance(verdict, Failure):
        return replace(reply, result=verdict)
    repairs = (*(reply.report.repairs if reply.report else ()), *verdict.repairs)
    report = AnswerReport(repairs=repairs) if repairs else None
    return replace(reply, result=replace(answer, text=jsontext.dumps(verdict.value).decode()), report=report)


def may_need_text(reply: Reply) -> bool:
    """Whether the text of a part is looked into to make its reply usable."""
    return isinstance(reply.result, Completion) and sent_text.may_be_altered(reply.result.text)


def short_parts(replies: Sequence[Reply], schema: OutputSchema) -> list[Shortfall]:
    """The parts whose text shows more rows than their answer has.

    Args:
        replies: The usable replies of all parts, in the order of the document.
        schema: The schema of the whole document.
    """
    return shortfalls(
        [tables(reply.document.text, _part(reply.document).columns) for reply in replies],
        [jsontext.loads(_text(reply)) for reply in replies],
        schema.merge_rules,
    )


def better(one: Reply, other: Reply, schema: OutputSchema) -> Reply:
    """Of two answers for one part, the one that has more of the rows that the text shows; the latter of equal ones."""
    if isinstance(other.result, Failure):
        return one
    # Together, because an answer without any row does not show what a row is: the other one does.
    short = {found.part: found.shown - found.answered for found in short_parts([one, other], schema)}
    lacking = [short.get(index, 0) for index in (0, 1)]
    size = [len(_text(reply)) for reply in (one, other)]
    return other if (lacking[1], -size[1]) <= (lacking[0], -size[0]) else one


def better_whole(joined: Reply, whole: Reply, schema: OutputSchema) -> Reply:
    """The reply for a document whose first answer lacked something, and which was then asked for in parts.

    Of the first answer, the one in parts, and the first one with the lists of the latter, the one is kept that lacks
    least. The first one stays unless another one is better.

    Args:
        joined: The reply for the document in parts, with all that was spent.
        whole: The first reply.
        schema: The schema of the whole document.
    """
    earlier = replace(joined.document.earlier, parts=())
    text, verdict = joined.document.text, judge(_text(whole), schema)
    assert not isinstance(verdict, Failure), "only a valid answer is looked at for what it lacks"
    lacking = lack(text, verdict.value, schema)
    assert lacking is not None
    report = AnswerReport(incomplete=lacking.figures)
    kept = replace(joined, document=joined.document.with_earlier(earlier), result=whole.result, report=report)
    if not isinstance(joined.result, Completion):
        return kept
    least = lacking.measure
    second = jsontext.loads(joined.result.text)
    for value in (with_lists_of(second, verdict.value), second):
        answer = jsontext.dumps(value).decode()
        if isinstance(judge(answer, schema), Failure):
            continue
        lacking = lack(text, value, schema)
        if (measure := (0, 0, 0) if lacking is None else lacking.measure) < least:
            assert joined.report is not None
            report = replace(joined.report, incomplete=() if lacking is None else lacking.figures)
            kept, least = replace(joined, result=replace(joined.result, text=answer), report=report), measure
    return kept


def whole_after_all(joined: Reply, whole: Reply, unreadable: Failure) -> Reply:
    """The first answer for a whole document, because its parts cannot be joined any more.

    Args:
        joined: The reply for the document in parts, which has failed.
        whole: The first reply, whose answer is valid but lacks something.
        unreadable: Why the texts of the parts cannot be read again.
    """
    lacking = f"what the answer lacks was asked for once more, and cannot be joined with it: {unreadable.message}"
    earlier, report = replace(joined.document.earlier, parts=()), AnswerReport(incomplete=(lacking,))
    return replace(joined, document=joined.document.with_earlier(earlier), result=whole.result, report=report)


def joined_reply(
    replies: Sequence[Reply], spent: Sequence[Spent], schema: OutputSchema, unreadable: Failure | None = None
) -> Reply:
    """The reply for a document, of which these are all parts.

    If a part has failed, so has the document; it keeps the answers of the other parts (`Earlier.parts`).

    Args:
        replies: The usable replies of its parts, in the order of the document. They have their texts, unless the
            document has failed.
        spent: What was spent on answers that do not count: those that were cut off, or lacked rows.
        schema: The schema of the whole document.
        unreadable: Why the texts of the parts cannot be read again; None if they can.
    """
    document = joined([reply.document for reply in replies])
    rounds = [reply.document.earlier.round for reply in replies]
    usage = reduce(add, [*(reply.usage for reply in replies), *(before.usage for before in spent)], Usage())
    request_ids = [reply.ticket.request_id for reply in replies if reply.ticket.request_id is not None]
    attempts = max(reply.ticket.attempts for reply in replies) + max((before.attempts for before in spent), default=0)
    ticket = Ticket(request_ids[-1] if request_ids else None, attempts)
    failure = unreadable or _failure(replies)
    if failure is not None:
        earlier = Earlier(max(rounds), document.earlier.attempts, None, tuple(map(_earlier_part, replies)))
        return Reply(document.with_earlier(earlier), failure, usage, ticket)
    document = document.with_earlier(replace(document.earlier, round=max(rounds)))
    answers = [
        PartAnswer(
            _part(reply.document).start,
            _part(reply.document).end,
            jsontext.loads(_text(reply)),
            reply.document.text,
            _part(reply.document).context,
        )
        for reply in replies
    ]
    merged = merge(answers, schema.merge_rules)
    incomplete = [_described(short, replies[short.part].document) for short in short_parts(replies, schema)]
    shown = [table for reply in replies for table in tables(reply.document.text, _part(reply.document).columns)]
    incomplete += unanswered_lists(shown, merged.value, schema.merge_rules)
    incomplete += unmet_sums(schema.sum_checks, merged.value)
    report = AnswerReport(len(replies), tuple(map(asdict, merged.conflicts)), tuple(incomplete), _repairs(replies))
    return Reply(document, _completion(replies, merged.value), usage, ticket, report=report)


def _repairs(replies: Sequence[Reply]) -> tuple[Repair, ...]:
    """The repairs of the answers of all parts, without places, as these are others in the whole answer."""
    counts = Counter[RepairKind]()
    for reply in replies:
        for repair in reply.report.repairs if reply.report else ():
            counts[repair.kind] += repair.count
    return tuple(Repair(kind, None, count) for kind, count in counts.items())


def _completion(replies: Sequence[Reply], value: object) -> Completion:
    answers = [reply.result for reply in replies if isinstance(reply.result, Completion)]
    created = max((answer.created for answer in answers if answer.created is not None), default=None)
    return Completion(jsontext.dumps(value).decode(), answers[0].finish_reason, created, answers[0].model)


def _earlier_part(reply: Reply) -> EarlierPart:
    part, round_ = _part(reply.document), reply.document.earlier.round
    if isinstance(reply.result, Completion):
        return EarlierPart(part.start, part.end, reply.result, round_)
    return EarlierPart(part.start, part.end, None, round_ + has_answer(reply.result), reply.open)


def _failure(replies: Sequence[Reply]) -> Failure | None:
    """The failure of the document: that of its first part that has failed."""
    failures = [(number, reply.result) for number, reply in enumerate(replies, 1) if isinstance(reply.result, Failure)]
    if not failures:
        return None
    number, failure = failures[0]
    part = _part(replies[number - 1].document)
    others = f"; so did {len(failures) - 1} other parts" if len(failures) > 1 else ""
    where = f"part {number} of {len(replies)} (characters {part.start} to {part.end}) failed"
    return replace(failure, message=f"{where}: {failure.message}{others}")


def _described(short: Shortfall, document: Document) -> str:
    part = _part(document)
    where = f"characters {part.start} to {part.end}"
    return f"{where}: {short.figures}"


def _text(reply: Reply) -> str:
    assert isinstance(reply.result, Completion)
    return reply.result.text


def _part(document: Document) -> Part:
    assert document.part is not None
    return document.part
