"""What a shard is to do because of what came back: `state_machine` decides it and `shard_turn` carries it out.

Each job ends in exactly one of them, but for `Warn`, which ends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from kimi_beam.queue.jobs import Job
from kimi_beam.types import Failure, Usage
from kimi_beam.wire.service_errors import ServiceError


@dataclass(frozen=True, slots=True)
class Finish:
    """The job is done; its items are to be settled."""

    job: Job
    items: Sequence[Any]
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Each document of the batch becomes a dead letter with this failure."""

    job: Job
    failure: Failure


@dataclass(frozen=True, slots=True)
class Split:
    """The batch is to be cut in two, and both halves admitted."""

    job: Job


@dataclass(frozen=True, slots=True)
class Halt:
    """Account, token or model are turned away. The jobs are kept."""

    error: ServiceError


@dataclass(frozen=True, slots=True)
class AskAgain:
    """JSON mode could not be met (5024): the batch is to be asked for again in its next form.

    Attributes:
        job: Which.
        failure: What its documents are given up with where there is no other form.
    """

    job: Job
    failure: Failure


@dataclass(frozen=True, slots=True)
class RunInstead:
    """The model has no queue (8007), and the user allows it: the documents are asked for synchronously."""

    job: Job


@dataclass(frozen=True, slots=True)
class Drop:
    """Some documents of an unsent batch are lost: the others are to be admitted as a batch of their own.

    Attributes:
        job: Which.
        lost: Why, by position in the batch.
    """

    job: Job
    lost: Mapping[int, Failure]


@dataclass(frozen=True, slots=True)
class FinishSome:
    """A finished reply holds the items of some documents: they are to be settled, and the others to be read again.

    Attributes:
        finish: The job and what came back.
        came: The places in the batch of the documents whose items are there.
    """

    finish: Finish
    came: Sequence[int]


@dataclass(frozen=True, slots=True)
class Warn:
    """Something that the user should hear of while it goes on, in one line."""

    message: str


Effect: TypeAlias = Finish | FinishSome | Warn | GiveUp | Split | Halt | AskAgain | RunInstead | Drop
