"""Documents with pictures that the queue refuses: they are asked about synchronously, or their dead letters say how.

Pictures were never observed in the batch queue of Kimi K2.6, only in that of other models; synchronously they work
(Workers AI; captures). Which error a queue without them answers is not known, so any refusal of a document with
pictures is taken for one of its pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kimi_beam.columnar import Replies
from kimi_beam.request import batches
from kimi_beam.types.failure import Failure

_ADVICE = (
    "it has pictures, which the batch queue of this model may not take: --fallback-api run asks for such documents "
    "synchronously, --api run for all"
)


def may_be_for_pictures(failure: Failure) -> bool:
    """Whether a failure may mean that the queue takes no pictures, if its document has some."""
    return failure.code in ("refused", "item_failed")


def places_of(blob: bytes) -> list[int]:
    """The indices of the documents of a batch that have pictures."""
    documents = batches.decode(blob)
    return [index for index, document in sorted(documents.others.items()) if document.picture_count]


def failed_places(replies: Replies) -> list[int]:
    """The indices of the replies to documents with pictures that failed, perhaps for their pictures."""
    return [
        index
        for index, failure in sorted(replies.results.failures.items())
        if may_be_for_pictures(failure) and replies.documents[index].picture_count
    ]


def parted(blob: bytes, places: Sequence[int]) -> tuple[bytes, bytes | None]:
    """The batch of the documents at these indices, and that of all others: None if there are none."""
    others = sorted(set(range(len(batches.head(blob).sizes))).difference(places))
    return batches.select(blob, places), batches.select(blob, others) if others else None


def with_advice(failure: Failure) -> Failure:
    """The failure with what the user may do about pictures that the queue does not take."""
    return replace(failure, message=f"{failure.message}; {_ADVICE}")
