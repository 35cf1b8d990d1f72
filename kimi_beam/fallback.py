"""Documents of the queue that are asked for again in another form, because JSON mode could not be met (5024).

They wait as a batch of their own, with what they have cost so far: it counts, whatever becomes of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kimi_beam import batches
from kimi_beam.batches import Item, Spent
from kimi_beam.types import Failure, OpenRequest, Reply, Ticket
from kimi_beam.wire.completions import FAILURES
from kimi_beam.wire.service_errors import UNMET


def part(blob: bytes, answered: Sequence[Reply], forms: int) -> tuple[list[Reply], bytes | None]:
    """Parts the replies of a batch that are final from the documents that are asked for again.

    Args:
        blob: The batch.
        answered: A reply for each of its documents, in their order.
        forms: How many ways of asking there are.

    Returns:
        The final replies; and the batch to ask for again, None where there is none.
    """
    head = batches.head(blob)
    if head.form:
        answered = [_with(reply, before) for reply, before in zip(answered, batches.spent(blob), strict=True)]
    if head.form + 1 >= forms:
        return list(answered), None
    again = [index for index, reply in enumerate(answered) if _is_unmet(reply)]
    if not again:
        return list(answered), None
    keys = head.keys
    batch = batches.encode(
        [Item(answered[index].document, head.sizes[index], keys[index]) for index in again],
        form=head.form + 1,
        spent=[Spent(answered[index].usage, answered[index].ticket.attempts) for index in again],
    )
    return [reply for reply in answered if not _is_unmet(reply)], batch


def given_up(
    blob: bytes, failure: Failure, ticket: Ticket | None = None, left_open: Sequence[OpenRequest] = ()
) -> list[Reply]:
    """A reply with one failure for each document of a batch.

    Args:
        blob: The batch.
        failure: Why.
        ticket: Of its job.
        left_open: The request of each document, where the job may still be answered.
    """
    replies = [
        Reply(document, failure, ticket=ticket or Ticket(), open=left_open[index] if left_open else None)
        for index, document in enumerate(batches.decode(blob))
    ]
    if not batches.head(blob).form:
        return replies
    return [_with(reply, before) for reply, before in zip(replies, batches.spent(blob), strict=True)]


def _is_unmet(reply: Reply) -> bool:
    return isinstance(reply.result, Failure) and reply.result.code == FAILURES[UNMET]


def _with(reply: Reply, before: Spent) -> Reply:
    ticket = replace(reply.ticket, attempts=reply.ticket.attempts + before.attempts)
    return replace(reply, usage=reply.usage + before.usage, ticket=ticket)
