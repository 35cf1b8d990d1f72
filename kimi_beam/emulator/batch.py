"""Writes finished jobs: answers every item, in the form and order that `Behaviour` chooses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import orjson

from kimi_beam.emulator import replies, work
from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.faults import Faults
from kimi_beam.emulator.leaf_faults import WrongLeaf
from kimi_beam.emulator.queue import Job, shuffled
from kimi_beam.emulator.refusals import Refused
from kimi_beam.emulator.replies import Completion, Json
from kimi_beam.emulator.work import Answer, Task

logger = logging.getLogger(__name__)


class Stopped(Exception):  # noqa: N818 - not an error: the service is going away
    """The writer was told to stop."""


class Written(NamedTuple):
    """A finished job."""

    body: bytes
    completion_tokens: int
    wrong_leaves: list[WrongLeaf]
    """The values in it that a fault has made wrong."""


@dataclass(frozen=True)
class Writer:
    """Writes finished jobs. It runs in a worker thread and changes nothing.

    Attributes:
        behaviour: The form and order of items.
        seed: Decides the order, the ids of completions and which values are made wrong.
        faults: How often values are made wrong.
        answer: The function that replaces the rule-based model; None keeps the model.
        stopped: Checked before every item, so that a large job does not keep the process from ending.
    """

    behaviour: Behaviour
    seed: int
    faults: Faults
    answer: Answer | None
    stopped: Callable[[], bool] = lambda: False

    def complete(self, task: Task, model: str, name: str) -> Completion:
        """Answer one task as ``model``. The completion's id is a hash of the seed and ``name``.

        Raises:
            Refused: The model refuses the task.
        """
        completion_id = blake2b(f"{self.seed}:{name}".encode(), digest_size=16).hexdigest()
        return work.write(
            task,
            completion_id=completion_id,
            model=model,
            behaviour=self.behaviour,
            answer=self.answer,
            faults=self.faults,
            seed=self.seed,
        )

    def write(self, job: Job[Task]) -> Written:
        """Write a finished job.

        Raises:
            Stopped: The service is going away.
        """
        completions: list[Completion] = []
        parts: list[Json] = []
        for position, task in enumerate(job.items):
            if self.stopped():
                raise Stopped
            answered = self._attempt(task, job.owner[1], f"{job.id}:{position}")
            if isinstance(answered, Completion):
                completions.append(answered)
                parts += self._answered(job, position, task, answered)
            else:
                parts += self._failed(position, task, answered)
        if self.behaviour.references != "echoed" or self.behaviour.index_from:
            parts = self._renamed(parts, job_key(job.items))
        if self.behaviour.order == "shuffled":
            parts = [parts[n] for n in shuffled(len(parts), seed=self.seed, key=job_key(job.items))]
        result = replies.finished(parts, array=self.behaviour.array, usage=replies.usage(completions))
        return Written(
            replies.success(result).body,
            sum(completion.completion_tokens for completion in completions),
            [wrong for completion in completions for wrong in completion.wrong_leaves],
        )

    def _renamed(self, parts: list[Json], key: str) -> list[Json]:
        """Return the items with the numbers and references that `Behaviour` chooses."""
        number = "id" if self.behaviour.array == "responses" else "index"
        names = [part.get("external_reference") for part in parts]
        if self.behaviour.references == "shuffled":
            names = [names[n] for n in shuffled(len(names), seed=self.seed, key=f"{key}:references")]
        renamed = []
        for part, name in zip(parts, names, strict=True):
            part = {**part, number: part[number] + self.behaviour.index_from, "external_reference": name}
            if name is None or self.behaviour.references == "dropped":
                del part["external_reference"]
            renamed.append(part)
        return renamed

    def signed(self, model: str) -> str:
        """Return the ``model`` of completions, which says that the emulator wrote them."""
        return replies.signed(model, rule_based=self.answer is None)

    def _attempt(self, task: Task, model: str, name: str) -> Completion | tuple[int, str]:
        """Return the completion, or the code and message of its failure.

        Any exception becomes such a failure, so that one bad item does not spoil the others.
        """
        if task.refusal is not None:
            return task.refusal
        if task.fault == "failed_item":
            return 3030, "AiError: the request could not be processed"
        try:
            return self.complete(task, model, name)
        except Refused as refusal:
            return refusal.code, refusal.message
        except Exception as error:
            logger.exception("no answer for item %s", name)
            return 3030, f"AiError: {error!r}"

    def _answered(self, job: Job[Task], position: int, task: Task, completion: Completion) -> list[Json]:
        """Return the elements of an item in the job: one, or with some faults none or two."""
        array = self.behaviour.array
        per_item = self.behaviour.cached_tokens == "item"
        created = int(job.done_at)
        model = self.signed(job.owner[1])
        field = self.behaviour.reasoning_field
        result = replies.batch_completion(
            completion, model=model, created=created, cached_per_item=per_item, reasoning_field=field
        )
        part = replies.item(position, task.reference, array=array, result=result)
        if task.fault == "missing_item":
            return []
        if task.fault == "doubled_item":
            return [part, part]
        if task.fault == "unknown_reference":
            stranger = f"nobody-sent-{completion.id}"
            return [part, replies.item(len(job.items) + position, stranger, array=array, result=result)]
        return [part]

    def _failed(self, position: int, task: Task, reason: tuple[int, str]) -> list[Json]:
        array = self.behaviour.array
        error: Json = {"code": reason[0], "message": reason[1]}
        if self.behaviour.item_failure == "missing":
            return []
        if self.behaviour.item_failure == "result":
            return [replies.item(position, task.reference, array=array, result={"errors": [error]})]
        return [replies.item(position, task.reference, array=array, result=None, error=error)]


def body_for_poll(reply: bytes, fault: str | None, array: str) -> bytes:
    """Return a finished job's body as one poll reads it, which some faults change."""
    if fault is None:
        return reply
    body: Json = orjson.loads(reply)
    items: list[Json] = body["result"][array]
    if fault == "null_results":
        body["result"][array] = None
    elif fault == "partial_reply":
        body["result"][array] = items[1::2]
    else:
        body["result"][array] = [{**item, "external_reference": f"somebody-else-{n}"} for n, item in enumerate(items)]
    return orjson.dumps(body)


def job_key(tasks: Iterable[Task]) -> str:
    """Return the key of a job: a hash of its documents, in any order."""
    return blake2b("\0".join(sorted(task.key for task in tasks)).encode(), digest_size=16).hexdigest()
