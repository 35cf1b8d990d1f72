"""Sends the events of the batch queue to Cloudflare Queues, and answers their pull consumers.

The forms of events (platform/event-subscriptions, 2026-04-21), pulls and acknowledgements
(queues/configuration/pull-consumers) are documented; the HTTP statuses of the queues' error codes are assumed.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final

import orjson

from kimi_beam.emulator import replies
from kimi_beam.emulator.behaviour import Behaviour
from kimi_beam.emulator.faults import Injector
from kimi_beam.emulator.messages import Delivery, Messages
from kimi_beam.emulator.queue import Job
from kimi_beam.emulator.refusals import Refused
from kimi_beam.emulator.replies import Json, Reply

_MOST: Final = 100
_LONGEST: Final = 12 * 3600 * 1000  # ms
COUNTED: Final = ("pulls", "acks", "sent", "delivered", "acknowledged", "handed_back")


class Events:
    """The queues of all accounts. Each is subscribed to the batch events of all models.

    Args:
        behaviour: The ids of the queues, and the form of their messages.
        injector: Draws faults.
        seed: Decides the order of messages.
    """

    def __init__(self, behaviour: Behaviour, injector: Injector, seed: int) -> None:
        self._behaviour = behaviour
        self._injector = injector
        self._seed = seed
        self._queues: dict[tuple[str, str], Messages] = {}
        self.counted: Counter[str] = Counter()

    def publish(self, job: Job[Any], key: str) -> None:
        """Send the events of a job; each can be pulled from its own time on.

        Args:
            job: A job that has just been accepted.
            key: The key of its documents, by which faults are drawn.
        """
        if not self._behaviour.event_queues:
            return
        self._send(job, "queued", job.accepted_at)
        if job.fate in ("runs", "fails") and math.isfinite(job.done_at):
            fault = self._injector.event(key)
            delay = self._injector.argument("late_event", 60.0) if fault == "late_event" else 0.0
            for _ in range({"lost_event": 0, "doubled_event": 2}.get(fault or "", 1)):
                self._send(job, "failed" if job.fate == "fails" else "succeeded", job.done_at, delay)

    def answer(self, account: str, queue: str, action: str, body: bytes, now: float) -> Reply:
        """Answer a pull or an acknowledgement.

        Raises:
            Refused: There is no such queue, or the body is malformed.
        """
        if queue not in self._behaviour.event_queues:
            raise Refused(10104)
        try:
            request = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise Refused(10208) from None
        if not isinstance(request, dict):
            raise Refused(10207)
        messages = self._queue(account, queue)
        return self._pull(messages, request, now) if action == "pull" else self._ack(messages, request, now)

    def _pull(self, messages: Messages, request: Json, now: float) -> Reply:
        # The documentation has visibility_timeout, Cloudflare's clients visibility_timeout_ms; both are milliseconds.
        most = request.get("batch_size", 5)
        visibility = request.get("visibility_timeout_ms", request.get("visibility_timeout", 30_000))
        if type(most) is not int or not 1 <= most <= _MOST:
            raise Refused(10206)
        if type(visibility) is not int or not 0 <= visibility <= _LONGEST:
            raise Refused(10207)
        delivered = messages.pull(most, visibility / 1000, now)
        self.counted["pulls"] += 1
        self.counted["delivered"] += len(delivered)
        result = {
            "message_backlog_count": messages.backlog(now),
            "messages": [self._delivered(delivery) for delivery in delivered],
        }
        return replies.success(result)

    def _delivered(self, delivery: Delivery) -> Json:
        message = delivery.message
        encoded = self._behaviour.event_body == "base64"
        return {
            "body": b64encode(message.body).decode() if encoded else message.body.decode(),
            "id": message.id,
            "timestamp_ms": int(message.sent_at * 1000),
            "attempts": delivery.attempts,
            "metadata": {"CF-sourceMessageSource": "workersAi.model", "CF-Content-Type": "json"},
            "lease_id": delivery.lease,
        }

    def _ack(self, messages: Messages, request: Json, now: float) -> Reply:
        acks, retries = request.get("acks", []), request.get("retries", [])
        if not isinstance(acks, list) or not isinstance(retries, list) or not all(map(_is_lease, [*acks, *retries])):
            raise Refused(10207)
        acknowledged = messages.acknowledge(ack["lease_id"] for ack in acks)
        handed_back = messages.hand_back([(r["lease_id"], r.get("delay_seconds", 0)) for r in retries], now)
        self.counted["acks"] += 1
        self.counted["acknowledged"] += acknowledged
        self.counted["handed_back"] += handed_back
        return replies.success({"ackCount": acknowledged, "retryCount": handed_back, "warnings": []})

    def _queue(self, account: str, queue: str) -> Messages:
        return self._queues.setdefault(
            (account, queue), Messages(seed=self._seed, max_retries=self._behaviour.event_retries)
        )

    def _send(self, job: Job[Any], kind: str, at: float, delay: float = 0.0) -> None:
        account, model = job.owner
        payload: Json = {"requestId": job.id}
        if kind == "failed":
            code, message = job.failure or (5001, "Internal error")
            payload |= {"message": message, "internalCode": code, "httpCode": 500}
        moment = datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = {
            "type": f"cf.workersAi.model.batch.{kind}",
            "source": {"type": "workersAi.model", "modelName": model},
            "payload": payload,
            "metadata": {
                "accountId": account,
                "eventSubscriptionId": "1830c4bb612e43c3af7f4cada31fbf3f",
                "eventSchemaVersion": 1,
                "eventTimestamp": moment,
            },
        }
        for queue in self._behaviour.event_queues:
            self._queue(account, queue).send(orjson.dumps(event), at, delay=delay)
            self.counted["sent"] += 1


def _is_lease(part: object) -> bool:
    if not isinstance(part, Mapping) or not isinstance(part.get("lease_id"), str):
        return False
    delay = part.get("delay_seconds", 0)
    return type(delay) in (int, float) and 0 <= delay <= 86_400
