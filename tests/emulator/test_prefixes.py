"""The prefix cache, alone and as replies report it."""

from __future__ import annotations

from typing import Any

from kimi_beam.emulator import Behaviour
from kimi_beam.emulator.prefixes import BLOCK, Prefixes, blocks

from .peer import Peer, serving

SYSTEM = "s" * 4 * 130  # two blocks and two tokens


def test_blocks_are_named_by_all_that_stands_before_them() -> Any:
    def names(*pieces: tuple[str, bytes]) -> tuple[int, ...]:
        return blocks(pieces)[0]

    block = b"x" * 4 * BLOCK
    assert blocks([("user", b"x" * 9)]) == ((), 3)
    assert blocks([("user", block + b"y")])[1] == BLOCK + 1
    assert names(("user", block * 3))[:2] == names(("user", block * 2 + b"end"))
    assert names(("user", block)) != names(("system", block))
    assert names(("user", block * 2))[1] != names(("user", block.upper() + block))[1]
    # A new piece begins a new token, and its role counts.
    assert names(("user", block[:5]), ("user", block)) != names(("user", block[:5] + block))


def test_an_instance_knows_what_it_has_seen_and_never_the_last_token() -> None:
    prefixes = Prefixes(1)
    here, there = prefixes.instance(("a", "m"), "s1"), prefixes.instance(("a", "m"), "s2")
    assert here != there != prefixes.instance(("b", "m"), "s2")
    assert prefixes.cached(here, (1, 2, 3), 200) == 0
    assert prefixes.cached(here, (1, 2, 4), 200) == 128
    assert prefixes.cached(here, (9, 2, 3), 200) == 0
    assert prefixes.cached(here, (1, 2, 3), 192) == 128
    assert prefixes.cached(there, (1, 2, 3), 200) == 0


def test_requests_without_a_session_go_to_the_instances_in_turn() -> None:
    prefixes = Prefixes(2)
    first, second, third = (prefixes.instance(("a", "m"), None) for _ in range(3))
    assert first != second
    assert first == third


def cached(peer: Peer, text: str, session: str = "", **more: Any) -> int:
    headers = {"x-session-affinity": session} if session else {}
    chat = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    reply = peer.run(messages=chat, headers=headers, **more)
    count: int = reply.json()["result"]["usage"]["prompt_tokens_details"]["cached_tokens"]
    return count


def test_sync_answers_tell_their_own_cached_tokens_and_sessions_keep_apart() -> None:
    with serving(behaviour=Behaviour(instances=3)) as peer:
        assert [cached(peer, f"Total: {n}", "one") for n in range(3)] == [0, 128, 128]
        assert cached(peer, "Total: 1", "two") == 0
        # Without a session, each of the three instances is cold once.
        assert [cached(peer, "Total: 1") for _ in range(5)] == [0, 0, 0, 128, 128]
        tool = {"type": "function", "function": {"name": "f"}}
        assert cached(peer, "Total: 1", "one", tools=[tool]) == 0  # tools stand before all else
        assert cached(peer, "Total: 1", "one", tools=[tool]) == 128
        long = "word " * 400
        assert (cached(peer, long, "one"), cached(peer, long, "one")) == (128, 576)
        body = {"messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "x"}]}
        reply = peer.chat(headers={"x-session-affinity": "one"}, **body)  # type: ignore[arg-type]
        assert reply.json()["usage"]["prompt_tokens_details"] == {"cached_tokens": 128}


def test_images_are_part_of_the_prefix() -> Any:
    def chat(data: str) -> list[dict[str, Any]]:
        url = {"url": f"data:image/png;base64,{data}"}
        return [{"role": "user", "content": [{"type": "image_url", "image_url": url}, {"type": "text", "text": "x"}]}]

    with serving() as peer:
        counts = [
            peer.run(messages=chat(data)).json()["result"]["usage"]["prompt_tokens_details"]["cached_tokens"]
            for data in ("AAAA", "AAAA", "BBBB")
        ]
        assert counts == [0, 1024, 0]


def test_the_queue_has_its_sum_and_affinity_only_where_it_is_set() -> Any:
    def job(peer: Peer, session: str) -> int:
        chats = [[{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"{n}"}] for n in range(3)]
        request_id = peer.submit(*({"messages": chat} for chat in chats), headers={"x-session-affinity": session})
        usage = peer.poll(request_id).json()["result"]["usage"]
        count: int = usage["prompt_tokens_details"]["cached_tokens"]
        return count

    with serving() as peer:
        assert [job(peer, "one"), job(peer, "two")] == [2 * 128, 3 * 128]
    with serving(behaviour=Behaviour(batch_affinity=True)) as peer:
        assert [job(peer, "one"), job(peer, "two"), job(peer, "one")] == [2 * 128, 2 * 128, 3 * 128]
