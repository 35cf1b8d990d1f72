"""What the service calls what it has accepted: a batch as a job, and one request of a job that is still open."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ticket:
    """The job that a batch was submitted as. `Ticket()` is that of a batch that was never sent.

    Attributes:
        request_id: The service's id of the job; None if the batch was not accepted, or its id was lost.
        attempts: Submits that the service saw, or may have seen, for the batch.
    """

    request_id: str | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request that the service has accepted and whose answer has not been fetched.

    Attributes:
        request_id: The id of its job.
        key: Its key in the journal, in hexadecimal digits, so that its answer is never used for another request.
        name: The prefix of the references of the job's requests.
        count: How many requests the job holds.
        position: The index of this request in its job, from 0.
        form: The index in `Prompt.forms` of the way in which JSON was asked for.
    """

    request_id: str
    key: str
    name: str
    count: int
    position: int
    form: int = 0
