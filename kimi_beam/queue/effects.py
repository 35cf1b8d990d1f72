"""The effects of replies on a shard's jobs: `state_machine` decides on them, `shard_turn` carries them out.

Each job leaves the shard by exactly one effect. `Halt` and `Warn` remove no job, and after `FinishSome` a part stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from kimi_beam.queue.jobs import Job
from kimi_beam.types.answer import Usage
from kimi_beam.types.failure import Failure
from kimi_beam.wire.service_errors import ServiceError


@dataclass(frozen=True, slots=True)
class Finish:
    """The job has ended, and its items are settled.

    Attributes:
        job: The job.
        items: Its results as the service sent them.
        usage: The tokens of the job; None if the service did not state them.
    """

    job: Job
    items: Sequence[Any]
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The job is given up: each of its documents becomes a dead letter with this failure."""

    job: Job
    failure: Failure


@dataclass(frozen=True, slots=True)
class Split:
    """The batch is cut in two, and both halves become jobs."""

    job: Job


@dataclass(frozen=True, slots=True)
class Halt:
    """Account, token or model are turned away. The shard keeps its jobs."""

    error: ServiceError


@dataclass(frozen=True, slots=True)
class AskAgain:
    """JSON mode could not be met (5024): the batch is asked for again in its next form.

    Attributes:
        job: The job, which leaves the shard.
        failure: The failure of its documents if there is no other form.
    """

    job: Job
    failure: Failure


@dataclass(frozen=True, slots=True)
class RunInstead:
    """The model has no queue (8007): the documents are asked for synchronously, as the user allows."""

    job: Job


@dataclass(frozen=True, slots=True)
class Drop:
    """The files of some documents cannot be read: these are given up, and the others become a job of their own.

    Attributes:
        job: The job, which was not submitted.
        lost: The failure of each such document, by its index in the batch.
    """

    job: Job
    lost: Mapping[int, Failure]


@dataclass(frozen=True, slots=True)
class FinishSome:
    """A finished reply has items for some documents only: these are settled, and the others stay a job.

    Attributes:
        finish: The whole job and the items of the reply.
        answered: The indices in the batch of the documents that have an item.
    """

    finish: Finish
    answered: Sequence[int]


@dataclass(frozen=True, slots=True)
class Warn:
    """A warning to the user, in one line. The jobs stay as they are."""

    message: str


Effect: TypeAlias = Finish | FinishSome | Warn | GiveUp | Split | Halt | AskAgain | RunInstead | Drop
