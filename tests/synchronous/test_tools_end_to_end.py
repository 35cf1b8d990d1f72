"""Functions that the model calls while it reads a document, and pictures that it looks at: end to end."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pictures
import pytest
from harness import HASTY, RECEIPT, receipts, run_extract, service
from patience import HANGS
from scripted import Asked, Scripted, answered, completion, reply

import kimi_beam as kb
from kimi_beam.emulator import Behaviour, Emulator
from kimi_beam.errors import ConfigError

_called: list[tuple[Any, ...]] = []


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    _called.clear()
    _release.clear()
    yield
    _release.set()


def rate(currency: str, day: int = 1) -> dict[str, float]:
    """The rate of a currency.

    More that the model need not see.
    """
    _called.append((currency, day))
    return {"rate": 1.5}


async def spell(word: str) -> str:
    """Spells a word."""
    _called.append(("spell", word))
    return " ".join(word)


def broken(word: str) -> str:
    """Never works."""
    raise RuntimeError("out of\norder")


def gives_up(word: str) -> str:
    """Means to end the program."""
    raise SystemExit(word)


async def gives_up_later(word: str) -> str:
    """Means the same."""
    raise SystemExit(word)


def runs_dry(word: str) -> str:
    """Raises what a future cannot hold."""
    return next(letter for letter in word if letter == "z")


def odd(word: str) -> Any:
    """Gives what JSON has no words for."""
    return {"set": {1}, "self": object()} if word == "a" else word + "\ud800"


_release = threading.Event()


def hangs(word: str) -> str:
    """Never comes back."""
    _release.wait()
    return word


def calls(*wanted: tuple[str, str], usage: int = 10) -> bytes:
    listed = [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(wanted)
    ]
    message = {"content": None, "tool_calls": listed, "reasoning_content": "let me see"}
    return answered(message=message, finish_reason="tool_calls")


def turns(*replies: bytes) -> Any:
    """Answers a request by the number of turns that it holds already."""

    def answer(asked: Asked) -> bytes:
        done = sum(message["role"] == "assistant" for message in asked.json["messages"])
        return replies[min(done, len(replies) - 1)]  # type: ignore[no-any-return]

    return answer


def ask(answer: Any, directory: Path, tools: list[Any], count: int = 1, **extract: Any) -> tuple[Any, list[Asked]]:
    with Scripted(answer) as server:
        where = service(server.url, api="run")
        return run_extract(receipts(count), "", directory, where=where, tools=tools, **extract), server.asked


def test_a_function_is_called_with_what_was_validated_and_its_result_goes_back(tmp_path: Path) -> None:
    script = turns(calls(("rate", '{"currency": "CHF", "day": "3"}'), ("spell", '{"word": "ab"}')), answered())
    outcome, asked = ask(script, tmp_path, [rate, spell])
    assert len(outcome.rows) == 1
    assert sorted(_called, key=str) == [("CHF", 3), ("spell", "ab")], "the arguments were not made to fit their types"
    first, second = (a.json for a in asked)
    assert first["messages"] == second["messages"][:2], "the prefix changed between two turns"
    assert first["tools"] == second["tools"]
    described = first["tools"][0]["function"]
    assert (described["name"], described["description"]) == ("rate", "The rate of a currency.")
    assert described["parameters"]["required"] == ["currency"]
    turn, *results = second["messages"][2:]
    assert turn["role"] == "assistant"
    assert turn["content"] == "", "null is refused (5006)"
    assert turn["reasoning"] == "let me see"
    assert [call["id"] for call in turn["tool_calls"]] == ["call_0", "call_1"]
    assert [(r["role"], r["tool_call_id"]) for r in results] == [("tool", "call_0"), ("tool", "call_1")]
    assert [json.loads(results[0]["content"]), results[1]["content"]] == [{"rate": 1.5}, "a b"]


def test_the_tokens_of_every_turn_are_the_documents(tmp_path: Path) -> None:
    call = calls(("rate", '{"currency": "CHF"}'))
    outcome, _ = ask(turns(call, call, answered()), tmp_path, [rate], 4)
    spent = {"prompt_tokens": 30, "cached_tokens": 12, "completion_tokens": 15}
    for row in outcome.rows:
        assert {name: row["_provenance"][name] for name in spent} == spent
        assert row["_provenance"]["attempts"] == 3
    assert outcome.summary["usage"] == {name: 4 * count for name, count in spent.items()}


def test_after_five_turns_it_is_enough(tmp_path: Path) -> None:
    outcome, asked = ask(lambda _: calls(("rate", '{"currency": "CHF"}')), tmp_path, [rate], 2)
    assert outcome.codes == {"too_many_turns": 2}
    assert len(_called) == 10
    assert len(asked) == 12
    assert outcome.summary["usage"]["prompt_tokens"] == 120, "what the turns have cost is not told"


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("broken", '{"word": "a"}', "RuntimeError: out of order"),
        ("gives_up", '{"word": "bye"}', "SystemExit: bye"),
        ("gives_up_later", '{"word": "bye"}', "SystemExit: bye"),
        ("runs_dry", '{"word": "a"}', "StopIteration"),
        ("rate", "{", "do not fit"),
        ("rate", "[]", "do not fit"),
        ("rate", "{}", "do not fit"),
        ("rate", '{"currency": "CHF", "more": 1}', "do not fit"),
        ("rate", '{"currency": 5}', "do not fit"),
        ("rate", '{"currency":' + "[" * 5000, "do not fit"),
        ("unknown", "{}", "no function 'unknown'"),
    ],
)
def test_the_model_gets_the_error_of_a_function_that_fails(
    name: str, arguments: str, says: str, tmp_path: Path
) -> None:
    functions = [rate, broken, gives_up, gives_up_later, runs_dry]
    outcome, asked = ask(turns(calls((name, arguments)), answered()), tmp_path, functions)
    assert len(outcome.rows) == 1
    result = asked[1].json["messages"][-1]
    assert says in json.loads(result["content"])["error"]
    assert _called == []


def test_a_result_that_is_no_json_goes_back_legibly(tmp_path: Path) -> None:
    called = calls(("odd", '{"word": "a"}'), ("odd", '{"word": "b"}'))
    outcome, asked = ask(turns(called, answered()), tmp_path, [odd])
    assert len(outcome.rows) == 1
    one, other = (message["content"] for message in asked[1].json["messages"][-2:])
    assert json.loads(one)["set"] == [1]
    assert other == "b?"


def test_a_function_that_never_comes_back_is_ended_by_the_deadline(tmp_path: Path) -> None:
    def answer(asked: Asked) -> bytes:
        return calls(("hangs", '{"word": "a"}')) if b"Shop 0" in asked.body else answered()

    outcome, _ = ask(answer, tmp_path, [hangs], 5, polling=HASTY)
    assert outcome.ids == Counter(f"doc-{n}" for n in range(5))
    assert len(outcome.rows) == 4
    assert outcome.codes == {"deadline": 1}
    assert outcome.letters[0]["retryable"]
    assert outcome.summary["usage"]["prompt_tokens"] == 50, "the turn before was paid for"


def test_a_function_that_never_comes_back_does_not_keep_the_process() -> None:
    code = """
import asyncio, sys, time
from kimi_beam.network import event_loop
from kimi_beam.synchronous.tools import Tool

def hangs(word: str) -> str:
    "Never comes back."
    time.sleep(1e6)

async def impatient():
    calls = [Tool(hangs).call('{"word": "a"}') for _ in range(40)]
    await asyncio.wait_for(asyncio.gather(*calls), 0.2)

try:
    event_loop.run(impatient())
except asyncio.TimeoutError:
    print("given up")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS, check=True)
    assert done.stdout == "given up\n"


@pytest.mark.parametrize("form", ["schema", "bare", "prompt", "tool"])
@pytest.mark.parametrize("api", ["run", "chat", "openai"])
def test_the_emulator_calls_functions_in_every_form(api: str, form: Any, tmp_path: Path) -> None:
    with Emulator(behaviour=Behaviour(openai_models=("kimi",))) as emulator:
        where = (
            kb.WorkersAI(model="kimi", openai_url=emulator.openai_url)
            if api == "openai"
            else service(emulator.base_url, api=api)
        )
        outcome = run_extract(
            receipts(10), "", tmp_path, where=where, tools=[shop], structured_output=form, instructions="Use shop."
        )
    assert (len(outcome.rows), outcome.letters) == (10, [])
    if form != "tool":  # there the stand-in finds all that it needs in the document, and answers at once
        assert Counter(_called) == Counter(("shop", f"Shop {n} Ltd") for n in range(10))
    assert {r["_document_id"]: r["total"] for r in outcome.rows} == {f"doc-{n}": n + 0.5 for n in range(10)}


def shop(company: str) -> str:
    """Looks a company up."""
    _called.append(("shop", company))
    return "known"


def test_functions_reach_worker_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(map(str, Path(__file__).parents[:2]))
    )  # importable on the workers, as is asked for
    with Emulator() as emulator:
        outcome = run_extract(
            receipts(20),
            "",
            tmp_path,
            where=service(emulator.base_url, api="run"),
            tools=[shop],
            instructions="Use shop.",
            options=("--direct_num_workers=2", "--direct_running_mode=multi_processing"),
        )
    assert len(outcome.rows) == 20
    assert {r["_provenance"]["attempts"] for r in outcome.rows} == {2}


def positional(word: str, /) -> str:
    """Cannot be called by name."""
    return word


def _twice() -> Any:
    def rate(currency: str) -> str:
        """Another of that name."""
        return currency

    return rate


@pytest.mark.parametrize(
    "functions", [[rate, _twice()], [positional], [lambda *a: a], [lambda x: x, 5]], ids=["names", "/", "*", "int"]
)
def test_functions_that_cannot_be_declared_are_refused_in_one_line(functions: list[Any]) -> None:
    with pytest.raises(ConfigError, match="tools") as told:
        kb.Extract(RECEIPT, service=service("http://x", api="run"), tools=functions)
    assert "\n" not in str(told.value)


def test_functions_need_turns_which_the_queue_has_not() -> None:
    with pytest.raises(ConfigError, match="queue"):
        kb.Extract(RECEIPT, service=service("http://x"), tools=[rate])


# ------------------------------------------------------------------------------------------------ pictures

PNG = base64.b64encode(pictures.png()).decode()
GOOD = f"data:image/png;base64,{PNG}"


def queue_or_run(asked: Asked) -> bytes:
    if "requests" in asked.json:
        names = [request["external_reference"] for request in asked.json["requests"]]
        return reply({"result": {"status": "queued", "request_id": json.dumps(names)}, "success": True})
    if "request_id" in asked.json:
        names = json.loads(asked.json["request_id"])
        items = [
            {"index": n, "success": True, "external_reference": r, "result": completion()} for n, r in enumerate(names)
        ]
        return reply({"result": {"results": items}, "success": True})
    return answered()


@pytest.mark.parametrize("api", ["batch", "run", "chat"])
def test_pictures_go_before_the_text_as_they_are(api: str, tmp_path: Path) -> None:
    other = pictures.uri(pictures.jpeg(), "image/jpeg")
    documents = [kb.Document("a", "what is it?", (GOOD, other)), kb.Document("b", "", (GOOD,))]
    with Scripted(queue_or_run) as server:
        outcome = run_extract(documents, "", tmp_path, where=service(server.url, api=api))
    assert len(outcome.rows) == 2
    bodies = [a.json for a in server.asked if "request_id" not in a.json]
    requests = bodies[0]["requests"] if api == "batch" else bodies
    contents = [request["messages"][-1]["content"] for request in requests]
    two, one = sorted(contents, key=len, reverse=True)
    assert [part["type"] for part in two] == ["image_url", "image_url", "text"]
    assert [part["image_url"]["url"] for part in two[:2]] == [GOOD, other]
    assert "what is it?" in two[2]["text"]
    assert [part["type"] for part in one] == ["image_url", "text"]


SVG = base64.b64encode(b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>').decode()


BAD_PICTURES: tuple[Any, ...] = (
    f"data:image/svg+xml;base64,{SVG}",
    f"data:image/png;base64,{SVG}",
    "data:image/png;base64,%%%",
    "data:image/png;base64,",
    f"data:image/png,{PNG}",
    f"data:text/plain;base64,{PNG}",
    f"data:image/png;base64,{PNG[:40]}",
    "data:image/png;base64,JVBERi0xLjcK",
    "https://example.com/a.png",
    "file:///etc/passwd",
    "",
    "\ud800",
    5,
)


@pytest.mark.parametrize("api", ["batch", "run"])
def test_a_bad_picture_is_a_dead_letter_and_nothing_is_sent(api: str, tmp_path: Path) -> None:
    with Scripted(queue_or_run) as server:
        documents = [kb.Document(repr(uri), "text", (GOOD, uri)) for uri in BAD_PICTURES]
        outcome = run_extract(documents, "", tmp_path, where=service(server.url, api=api))
        assert server.asked == []
    codes = {letter["document_id"]: letter["code"] for letter in outcome.letters}
    assert codes == {repr(uri): "not_utf8" if uri == "\ud800" else "bad_image" for uri in BAD_PICTURES}
    assert outcome.ids == Counter(list(codes))


def test_pictures_count_against_the_bytes_of_a_batch(tmp_path: Path) -> None:
    picture = pictures.uri(pictures.png(bytes(75_000)))
    documents = [kb.Document(f"doc-{n}", f"TOTAL: {n}", (picture,)) for n in range(10)]
    with Scripted(queue_or_run) as server:
        packed = kb.Batching(max_bytes=350_000)
        outcome = run_extract(documents, server.url, tmp_path, batching=packed)
    assert len(outcome.rows) == 10
    sizes = [len(asked.body) for asked in server.asked if b"request_id" not in asked.body]
    assert max(sizes) <= 350_000
    assert len(sizes) <= 5, "pictures are counted twice"


def test_a_picture_too_large_for_any_request_is_not_sent(tmp_path: Path) -> None:
    picture = pictures.uri(pictures.png(bytes(9_000_000)))
    with Scripted(queue_or_run) as server:
        where = service(server.url, api="run")
        outcome = run_extract([kb.Document("a", "", (picture,))], "", tmp_path, where=where)
        assert server.asked == []
    assert outcome.codes == {"too_large": 1}


@pytest.mark.parametrize("api", ["batch", "run", "chat"])
def test_pictures_reach_the_emulator(api: str, tmp_path: Path) -> None:
    documents = [kb.Document(f"doc-{n}", f"COMPANY: A\nTOTAL: {n}.50", (GOOD,)) for n in range(5)]
    with Emulator() as emulator:
        outcome = run_extract(documents, "", tmp_path, where=service(emulator.base_url, api=api))
    assert (len(outcome.rows), outcome.letters) == (5, [])
    assert outcome.summary["usage"]["prompt_tokens"] > 5 * 1024, "the pictures were not looked at"
