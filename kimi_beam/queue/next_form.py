"""The next form: documents are asked for again in another form if JSON mode could not be met (5024).

They wait as a batch of their own, with the tokens and attempts so far, which are added to those of their last reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kimi_beam.columnar import Replies
from kimi_beam.request import batches
from kimi_beam.request.batches import Item, Spent
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import OpenRequest, Ticket
from kimi_beam.wire.completions import FAILURES
from kimi_beam.wire.service_errors import UNMET


def split_unmet(blob: bytes, answered: Replies, forms: int) -> tuple[Sequence[Reply], bytes | None]:
    """Separates the final replies of a batch from the documents that are asked for again.

    Args:
        blob: The batch.
        answered: A reply for each of its documents, in their order.
        forms: How many forms there are.

    Returns:
        The final replies, and the batch to ask for again: None if there is none.
    """
    head = batches.head(blob)
    unmet = {place for place, failure in answered.results.failures.items() if failure.code == FAILURES[UNMET]}
    again = sorted(unmet) if head.form + 1 < forms else []
    if not head.form and not again:
        return answered, None
    spent = batches.spent(blob) if head.form else [Spent()] * len(answered)
    replies = [with_spent(reply, before) for reply, before in zip(answered, spent, strict=True)]
    if not again:
        return replies, None
    keys = head.keys
    batch = batches.encode(
        [Item(replies[place].document, head.sizes[place], keys[place]) for place in again],
        form=head.form + 1,
        spent=[Spent(replies[place].usage, replies[place].ticket.attempts) for place in again],
    )
    return [reply for place, reply in enumerate(replies) if place not in unmet], batch


def in_form_from(blob: bytes, form: int) -> bytes:
    """The batch in its own form or, if that is earlier, in the given one.

    Args:
        blob: The batch.
        form: The first form that is not known to fail for every document.
    """
    if batches.head(blob).form >= form:
        return blob
    return batches.encode(batches.items(blob), form=form, spent=batches.spent(blob))


def give_up_all(
    blob: bytes, failure: Failure, ticket: Ticket | None = None, open_requests: Sequence[OpenRequest] = ()
) -> Replies:
    """A reply with one failure for each document of a batch.

    Args:
        blob: The batch.
        failure: The failure.
        ticket: The request id and attempts of its job; None if it was not submitted.
        open_requests: The open request of each document, if the job may still be answered; else empty.
    """
    replies = [
        Reply(document, failure, ticket=ticket or Ticket(), open=open_requests[index] if open_requests else None)
        for index, document in enumerate(batches.decode(blob))
    ]
    if not batches.head(blob).form:
        return Replies.of(replies)
    return Replies.of(with_spent(reply, before) for reply, before in zip(replies, batches.spent(blob), strict=True))


def with_spent(reply: Reply, before: Spent) -> Reply:
    """A reply with the tokens and attempts that its document has used before, added to its own."""
    ticket = replace(reply.ticket, attempts=reply.ticket.attempts + before.attempts)
    return replace(reply, usage=reply.usage + before.usage, ticket=ticket)
