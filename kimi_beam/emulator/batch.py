"""Putting a finished job together: every item answered, in the shape and order the behaviour asks for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b

import orjson

from kimi_beam.emulator import replies, work
from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.queue import Job, shuffled
from kimi_beam.emulator.refusals import Refused
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

    def complete(self, task: Task, model: str, name: str) -> Completion:
        """Answer one task as ``model``; its completion id is a hash of the seed and ``name``.

        Raises:
            Refused: The model would not answer it.
        """
        completion_id = blake2b(f"{self.seed}:{name}".encode(), digest_size=16).hexdigest()
        return work.write(task, completion_id=completion_id, asked=model, behaviour=self.behaviour, answer=self.answer)

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
            answered = self._attempt(task, job.owner[1], f"{job.id}:{position}")
            if isinstance(answered, Completion):
                completions.append(answered)
                parts += self._answered(job, position, task, answered)
            else:
                parts += self._failed(position, task, answered)
        if self.behaviour.references != "echoed" or self.behaviour.index_from:
            parts = self._renamed(parts, together(job.items))
        if self.behaviour.order == "shuffled":
            parts = [parts[n] for n in shuffled(len(parts), seed=self.seed, key=together(job.items))]
        result = replies.finished(parts, array=self.behaviour.array, usage=replies.usage(completions))
        return replies.success(result).body, sum(completion.completion_tokens for completion in completions)

    def _renamed(self, parts: list[Json], key: str) -> list[Json]:
        """Return the items with the numbers and references that the behaviour asks for."""
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
        """Return the ``model`` that completions name: who wrote them."""
        return replies.signed(model, rule_based=self.answer is None)

    def _attempt(self, task: Task, model: str, name: str) -> Completion | tuple[int, str]:
        """Return the completion, or code and words of why there is none.

        One bad item, whatever it is, must not cost the others.
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
        """Return what stands in the job for an item: one element, with some faults none or two."""
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


def misread(reply: bytes, fault: str | None, array: str) -> bytes:
    """Return a finished job's body as one poll sees it, which some faults make another than it is."""
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


def together(tasks: Iterable[Task]) -> str:
    """Name a job by its documents, in whatever order they came."""
    return blake2b("\0".join(sorted(task.key for task in tasks)).encode(), digest_size=16).hexdigest()
