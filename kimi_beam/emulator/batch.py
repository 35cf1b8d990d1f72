"""Putting a finished job together: every item answered, in the shape and order the behaviour asks for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b

from kimi_beam.emulator import replies, work
from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.queue import Job, shuffled
from kimi_beam.emulator.replies import Completion, Json
from kimi_beam.emulator.work import Answer, Task

logger = logging.getLogger(__name__)


class Stopped(Exception):  # noqa: N818 - not an error: the service is going away
    """The writer was told to stop."""


@dataclass(frozen=True)
class Writer:
    """Writes finished jobs. Called in a worker thread: it reads a job and changes nothing.

    Attributes:
        behaviour: Shape and order.
        seed: Decides the order and the ids of completions.
        answer: Replaces the rule-based model; None keeps it.
        stopped: Asked before every item, so that a large job does not keep a process from ending.
    """

    behaviour: Behaviour
    seed: int
    answer: Answer | None
    stopped: Callable[[], bool] = lambda: False

    def complete(self, task: Task, name: str) -> Completion:
        """Answer one task; its completion id is a hash of the seed and ``name``."""
        completion_id = blake2b(f"{self.seed}:{name}".encode(), digest_size=16).hexdigest()
        enforce = self.behaviour.enforce_schema
        return work.write(task, completion_id=completion_id, enforce_schema=enforce, answer=self.answer)

    def write(self, job: Job[Task]) -> tuple[bytes, int]:
        """Return the finished job's body, and how many completion tokens it has.

        Raises:
            Stopped: The service is going away.
        """
        completions: list[Completion] = []
        parts: list[Json] = []
        for position, task in enumerate(job.items):
            if self.stopped():
                raise Stopped
            answered = self._attempt(task, f"{job.id}:{position}")
            if isinstance(answered, Completion):
                completions.append(answered)
                parts += self._answered(job, position, task, answered)
            else:
                parts += self._failed(position, task, answered)
        if self.behaviour.order == "shuffled":
            parts = [parts[n] for n in shuffled(len(parts), seed=self.seed, key=together(job.items))]
        result = replies.finished(parts, array=self.behaviour.array, usage=replies.usage(completions))
        return replies.success(result).body, sum(completion.completion_tokens for completion in completions)

    def signed(self, model: str) -> str:
        """Return the ``model`` that completions name: who wrote them."""
        return replies.signed(model, rule_based=self.answer is None)

    def _attempt(self, task: Task, name: str) -> Completion | str:
        """Return the completion, or why there is none: one bad item, whatever it is, must not cost the others."""
        if task.fault == "failed_item":
            return "the request could not be processed"
        try:
            return self.complete(task, name)
        except Exception as error:
            logger.exception("no answer for item %s", name)
            return repr(error)

    def _answered(self, job: Job[Task], position: int, task: Task, completion: Completion) -> list[Json]:
        """Return what stands in the job for an item: one element, with some faults none or two."""
        array = self.behaviour.array
        per_item = self.behaviour.cached_tokens == "item"
        created = int(job.done_at)
        model = self.signed(job.owner[1])
        result = replies.batch_completion(completion, model=model, created=created, cached_per_item=per_item)
        part = replies.item(position, task.reference, array=array, result=result)
        if task.fault == "missing_item":
            return []
        if task.fault == "doubled_item":
            return [part, part]
        if task.fault == "unknown_reference":
            stranger = f"nobody-sent-{completion.id}"
            return [part, replies.item(len(job.items) + position, stranger, array=array, result=result)]
        return [part]

    def _failed(self, position: int, task: Task, reason: str) -> list[Json]:
        array = self.behaviour.array
        error: Json = {"code": 3030, "message": f"AiError: {reason}"}
        if self.behaviour.item_failure == "missing":
            return []
        if self.behaviour.item_failure == "result":
            return [replies.item(position, task.reference, array=array, result={"errors": [error]})]
        return [replies.item(position, task.reference, array=array, result=None, error=error)]


def together(tasks: Iterable[Task]) -> str:
    """Name a job by its documents, in whatever order they came."""
    return blake2b("\0".join(sorted(task.key for task in tasks)).encode(), digest_size=16).hexdigest()
