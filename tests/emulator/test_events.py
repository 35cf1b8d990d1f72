"""The replies to a pull consumer over a real port, compared with literals from the documentation."""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import suppress
from typing import Any

import httpx
import pytest

from kimi_beam.emulator import Behaviour

from .peer import K2_6, OK, Peer, failure, item, serving

QUEUE = "f1" * 16
SUBSCRIBED = Behaviour(event_queues=(QUEUE,))


def call(peer: Peer, action: str, body: object, queue: str = QUEUE, token: str = "secret") -> httpx.Response:
    url = f"{peer.emulator.base_url}/accounts/{'a' * 32}/queues/{queue}/messages/{action}"
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return peer.http.post(url, content=content, headers={"Authorization": f"Bearer {token}"})


def pull(peer: Peer, **body: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call(peer, "pull", body).json()["result"]["messages"]
    return found


def event(message: dict[str, Any]) -> Any:
    return json.loads(b64decode(message["body"], validate=True))


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return sorted(event(message)["type"].rpartition(".")[2] for message in messages)


def test_a_job_is_told_of_when_it_is_queued_and_when_it_is_done() -> None:
    with serving(latency=10, behaviour=SUBSCRIBED) as peer:
        request_id = peer.submit(item())
        (queued,) = pull(peer)
        assert event(queued)["type"] == "cf.workersAi.model.batch.queued"
        peer.clock.now += 9.9
        assert pull(peer) == []
        peer.clock.now += 0.1
        reply = call(peer, "pull", {"batch_size": 50, "visibility_timeout_ms": 30_000})
        value = reply.json()
        (message,) = value["result"]["messages"]
        assert event(message) == {
            "type": "cf.workersAi.model.batch.succeeded",
            "source": {"type": "workersAi.model", "modelName": K2_6},
            "payload": {"requestId": request_id},
            "metadata": {
                "accountId": "a" * 32,
                "eventSubscriptionId": "1830c4bb612e43c3af7f4cada31fbf3f",
                "eventSchemaVersion": 1,
                "eventTimestamp": "2026-07-16T05:33:30.250Z",
            },
        }
        assert message["timestamp_ms"] == 1_784_180_010_250
        assert message["attempts"] == 1
        assert message["metadata"] == {"CF-sourceMessageSource": "workersAi.model", "CF-Content-Type": "json"}
        value["result"].pop("messages")
        assert value == {"result": {"message_backlog_count": 2}, **OK}

        leases = {"acks": [{"lease_id": message["lease_id"]}], "retries": [{"lease_id": queued["lease_id"]}]}
        settled = call(peer, "ack", leases)
        assert settled.json() == {"result": {"ackCount": 1, "retryCount": 1, "warnings": []}, **OK}
        (again,) = pull(peer)
        assert (again["id"], again["attempts"]) == (queued["id"], 2)
        counted = {"pulls": 4, "acks": 1, "sent": 2, "delivered": 3, "acknowledged": 1, "handed_back": 1}
        assert peer.emulator.stats()["events"] == counted
        assert peer.poll(request_id).status_code == 200


def test_a_failed_job_is_told_of_with_its_reason() -> None:
    with serving(behaviour=SUBSCRIBED, faults="failed_job=1") as peer:
        request_id = peer.submit(item())
        ended = next(e for e in map(event, pull(peer)) if not e["type"].endswith("queued"))
        assert ended["type"] == "cf.workersAi.model.batch.failed"
        assert ended["payload"] == {
            "requestId": request_id,
            "message": "Internal error: the batch could not be processed",
            "internalCode": 5001,
            "httpCode": 500,
        }


@pytest.mark.parametrize(
    ("faults", "after", "expected"),
    [
        ("", 0, ["queued", "succeeded"]),
        ("never_ends=1", 0, ["queued"]),
        ("expired=1", 0, ["queued"]),
        ("lost_event=1", 0, ["queued"]),
        ("doubled_event=1", 0, ["queued", "succeeded", "succeeded"]),
        ("late_event=1:20", 19.9, ["queued"]),
        ("late_event=1:20", 20, ["queued", "succeeded"]),
    ],
)
def test_faults_of_events(faults: str, after: float, expected: list[str]) -> None:
    with serving(behaviour=SUBSCRIBED, faults=faults) as peer:
        peer.submit(item())
        peer.clock.now += after
        assert kinds(pull(peer)) == expected


def test_a_pull_whose_reply_is_lost_has_leased_its_messages_all_the_same() -> None:
    with serving(behaviour=SUBSCRIBED, faults="drop_after_accept=0.5", seed=2) as peer:
        with suppress(httpx.TransportError):
            peer.submit(item())
        lost = 0
        messages: list[Any] = []
        while not messages:
            try:
                messages = pull(peer, visibility_timeout_ms=5_000)
            except httpx.TransportError:
                lost += 1
                assert peer.emulator.stats()["events"]["delivered"] == 2 * lost
                peer.clock.now += 5
        assert lost, "the fault did not strike"
        assert [message["attempts"] for message in messages] == [lost + 1] * 2


def test_what_cannot_be_pulled_is_refused_in_the_envelope() -> Any:
    def code(response: httpx.Response) -> tuple[int, int]:
        return response.status_code, response.json()["errors"][0]["code"]

    with serving(behaviour=SUBSCRIBED, token="secret") as peer:
        unknown = call(peer, "pull", {}, queue="b" * 32)
        assert unknown.status_code == 404
        assert unknown.json() == failure(10104, "AiError: AiError: Queue does not exist")
        assert code(call(peer, "pull", {}, token="another")) == (401, 10000)
        assert code(call(peer, "pull", {"batch_size": 101})) == (400, 10206)
        assert code(call(peer, "pull", {"visibility_timeout_ms": "long"})) == (400, 10207)
        assert code(call(peer, "ack", {"acks": ["a lease"]})) == (400, 10207)
        assert code(call(peer, "ack", b"{")) == (400, 10208)
        assert peer.emulator.stats()["events"]["pulls"] == 0


def test_a_body_may_be_plain_as_the_pages_sample_shows_it() -> None:
    with serving(behaviour=Behaviour(event_queues=(QUEUE,), event_body="plain")) as peer:
        peer.submit(item())
        assert {json.loads(m["body"])["source"]["modelName"] for m in pull(peer)} == {K2_6}
