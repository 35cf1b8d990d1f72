"""The options that choose the service: each takes effect, or is refused before anything is sent."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pictures
import pytest
from harness import ACCOUNT, read_dataset, receipts
from running_cli import PROGRAM, SCHEMA, environment, mistake, run
from scripted import Asked, Scripted, answered, error, reply

from kimi_beam.emulator import Behaviour, Emulator

K2_5 = "@cf/moonshotai/kimi-k2.5"
ANSWER = '{"company": "A", "date": null, "address": null, "total": "1"}'


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDFLARE_ACCOUNT_ID", raising=False)
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN", raising=False)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in receipts(20)))
    return path


def command(inputs: Path, tmp_path: Path, *more: object) -> tuple[object, ...]:
    return "extract", inputs, "--schema", SCHEMA, "--output", tmp_path / "out", *more


Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("form", ["schema", "bare", "prompt", "tool"])
@pytest.mark.parametrize("api", ["batch", "run", "chat"])
def test_each_api_and_form_reaches_the_emulator(
    api: str, form: str, inputs: Path, tmp_path: Path, capsys: Capture
) -> None:
    flags = ("--emulator", "--api", api, "--structured-output", form, "--poll-interval", "0.05:0.2")
    code, out, err = run(*command(inputs, tmp_path, *flags), capsys=capsys)
    assert code == 0, err
    assert "documents" in out
    outcome = read_dataset(tmp_path / "out")
    assert len(outcome.rows) == 20
    assert (outcome.summary["requests"] == 20) == (api != "batch")
    assert (outcome.summary["submits"] == 1) == (api == "batch")


def test_another_server_of_openais_protocol_needs_neither_account_nor_token(
    inputs: Path, tmp_path: Path, capsys: Capture
) -> None:
    with Emulator(behaviour=Behaviour(openai_models=("qwen3:8b",))) as emulator:
        flags = ("--openai-url", emulator.openai_url, "--model", "qwen3:8b", "--price", "1:0.5:2")
        code, _, err = run(*command(inputs, tmp_path, *flags), capsys=capsys)
        stats = emulator.stats()
    assert code == 0, err
    outcome = read_dataset(tmp_path / "out")
    assert (len(outcome.rows), stats["runs"], outcome.summary["model"]) == (20, 20, "qwen3:8b")
    assert outcome.summary["would_have_cost_usd"] > 0


def test_cloudflares_token_is_not_sent_to_another_server(
    inputs: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "cloudflares")
    monkeypatch.setenv("MINE", "mine")

    def answer(asked: Asked) -> bytes:
        if asked.method == "GET":
            return reply({"data": [{"id": "m"}]})
        return reply(json.loads(answered(ANSWER).partition(b"\r\n\r\n")[2])["result"])

    with Scripted(answer) as server:
        flags: tuple[str, ...] = ("--openai-url", server.url, "--model", "m")
        assert run(*command(inputs, tmp_path, *flags), capsys=capsys)[0] == 0
        assert not any("authorization" in asked.headers for asked in server.asked)
        server.asked.clear()
        flags = (*flags, "--token-from", "env:MINE", "--overwrite")
        assert run(*command(inputs, tmp_path, *flags), capsys=capsys)[0] == 0
        assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer mine"}


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--openai-url", "http://x/v1", "--base-url", "http://x"), "not allowed with"),
        (("--openai-url", "http://x/v1", "--emulator"), "not allowed with"),
        (("--base-url", "http://x", "--emulator"), "not allowed with"),
        (("--openai-url", "http://x/v1"), "--model"),
        (("--openai-url", "x", "--model", "m"), "URL"),
        (("--openai-url", "http://me:secret@x/v1", "--model", "m"), "token_from"),
        (("--openai-url", "http://x/v1", "--model", "m", "--api", "run"), "chat API alone"),
        (("--openai-url", "http://x/v1", "--model", "m", "--api", "batch"), "chat API alone"),
        (("--openai-url", "http://x/v1", "--model", "m", "--gateway", "g"), "openai_url"),
        (("--openai-url", "http://x/v1", "--model", "m", "--fallback-api", "run"), "openai_url"),
        (("--emulator", "--gateway-cache-ttl", "60"), "--gateway ID"),
        (("--emulator", "--gateway-cache-ttl", "0"), "--gateway ID"),
        (("--emulator", "--gateway-metadata", "a=b"), "--gateway ID"),
        (("--emulator", "--gateway-skip-cache"), "--gateway ID"),
        (("--emulator", "--gateway-url", "http://x"), "--gateway ID"),
        (("--emulator", "--gateway-token-from", "env:X"), "--gateway ID"),
        (("--emulator", "--gateway", "a/b"), "gateway"),
        (("--emulator", "--gateway", "g", "--gateway-cache-ttl", "5"), "cache_ttl"),
        (("--emulator", "--gateway", "g", "--gateway-cache-ttl", "0"), "cache_ttl"),
        (("--emulator", "--gateway", "g", "--gateway-metadata", "a"), "KEY=VALUE"),
        (("--emulator", "--gateway", "g", "--gateway-metadata", "a=1,b=2,c=3,d=4,e=5,f=6"), "at most 5"),
        (("--emulator", "--gateway", "g", "--gateway-token-from", "secret"), "env:"),
        (("--emulator", "--gateway", "g", "--gateway-token-from", "env:NOT_SET"), "NOT_SET"),
        (("--emulator", "--price", "1:2"), "PROMPT:CACHED:COMPLETION"),
        (("--emulator", "--price", "1:2:-3"), "PROMPT:CACHED:COMPLETION"),
        (("--emulator", "--price", "1:2:nan"), "PROMPT:CACHED:COMPLETION"),
        (("--emulator", "--price", "a:b:c"), "PROMPT:CACHED:COMPLETION"),
        (("--emulator", "--max-concurrency", "0"), "at least 1"),
        (("--emulator", "--max-in-flight", "0"), "at least 1"),
        (("--emulator", "--max-concurrency", "x"), "whole number"),
        (("--emulator", "--max-concurrency", "inf"), "whole number"),
        (("--emulator", "--requests-per-minute", "-1"), "whole number"),
        (("--emulator", "--requests-per-minute", "1.5"), "whole number"),
        (("--emulator", "--requests-per-minute", "1e30"), "from 1 to 1000000, or 0 for no limit"),
        (("--emulator", "--journal", ""), "'' names no file"),
        (("--emulator", "--journal", "nowhere://x"), "cannot write to nowhere://x"),
        (("--emulator", "--max-completion-tokens", "0"), "at least 1"),
        (("--emulator", "--api", "async"), "invalid choice"),
        (("--emulator", "--structured-output", "yaml"), "invalid choice"),
        (("--emulator", "--fallback-api", "chat"), "invalid choice"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_makes_no_sense_is_refused_in_a_line(
    flags: tuple[str, ...], says: str, inputs: Path, tmp_path: Path, capsys: Capture
) -> None:
    code, out, err = run(*command(inputs, tmp_path, *flags), capsys=capsys)
    assert code == 2, err
    assert out == ""
    last = err.splitlines()[-1]
    assert says in last
    assert "secret" not in err or "--gateway-token-from" in flags
    assert "Traceback" not in err
    assert not (tmp_path / "out" / "summary.json").exists()


def test_a_tool_form_for_an_answer_that_is_no_object_is_the_users_mistake(
    inputs: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "list.json").write_text('{"type": "array", "items": {"type": "string"}}')
    arguments = ("extract", inputs, "--schema", tmp_path / "list.json", "--output", tmp_path / "out", "--emulator")
    assert "structured_output" in mistake(*arguments, "--structured-output", "tool", capsys=capsys)


# ------------------------------------------------------------------------------------------------ gateway


def test_the_gateways_flags_arrive_as_headers(
    inputs: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE", "gate-t0ken")

    def answer(asked: Asked) -> bytes:
        return error(5504, 404) if "queueRequest" in asked.path else answered(ANSWER)

    with Scripted(answer) as server:
        flags = (
            *("--base-url", server.url, "--api", "run", "--gateway", "mine", "--gateway-metadata", "team=a,run=7"),
            *("--gateway-cache-ttl", "90", "--gateway-token-from", "env:GATE"),
        )
        code, _, err = run(*command(inputs, tmp_path, *flags), capsys=capsys)
    assert code == 0, err
    probe, *runs = server.asked
    assert probe.headers["cf-aig-skip-cache"] == "true"
    assert len(runs) == 20
    for asked in runs:
        told = {name: value for name, value in asked.headers.items() if name.startswith("cf-aig")}
        assert json.loads(told.pop("cf-aig-metadata")) == {"team": "a", "run": "7"}
        assert told == {
            "cf-aig-gateway-id": "mine",
            "cf-aig-cache-ttl": "90",
            "cf-aig-max-attempts": "1",
            "cf-aig-authorization": "Bearer gate-t0ken",
        }
    assert "gate-t0ken" not in err + (tmp_path / "out" / "summary.json").read_text()


def test_the_older_form_and_skip_cache(
    inputs: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "t0ken")
    with Emulator(behaviour=Behaviour(gateways=("mine",)), latency=0.1) as emulator:
        flags: tuple[str, ...] = (
            "--gateway",
            "mine",
            "--gateway-url",
            emulator.gateway_url,
            "--poll-interval",
            "0.05:0.1",
        )
        assert run(*command(inputs, tmp_path, *flags), capsys=capsys)[0] == 0
        flags = (*flags, "--api", "chat", "--gateway-skip-cache", "--overwrite", "--no-journal")
        assert run(*command(inputs, tmp_path, *flags), capsys=capsys)[0] == 0
        stats = emulator.stats()
    assert (stats["submits"], stats["runs"]) == (1, 20)
    assert len(read_dataset(tmp_path / "out").rows) == 20


def test_a_gateway_that_does_not_exist_is_the_users_mistake(inputs: Path, tmp_path: Path, capsys: Capture) -> None:
    with Emulator(behaviour=Behaviour(gateways=())) as emulator:
        for api in ("batch", "run"):
            flags = ("--base-url", emulator.base_url, "--gateway", "nowhere", "--api", api)
            assert "2001" in mistake(*command(inputs, tmp_path, *flags), capsys=capsys)
        assert emulator.stats()["documents"] == 0


# ------------------------------------------------------------------------------------------------ models


def test_a_model_without_a_queue_runs_where_the_user_allows_it(inputs: Path, tmp_path: Path, capsys: Capture) -> None:
    with Emulator() as emulator:
        flags = ("--base-url", emulator.base_url, "--model", K2_5)
        err = mistake(*command(inputs, tmp_path, *flags), capsys=capsys)
        assert "deprecated" in err
        assert "--fallback-api run" in err
        code, _, err = run(*command(inputs, tmp_path, *flags, "--no-preflight"), capsys=capsys)
        assert (code, len(err.splitlines())) == (1, 2), err
        assert "8007" in err
        assert emulator.stats()["documents"] == 0
        code, _, err = run(*command(inputs, tmp_path, *flags, "--fallback-api", "run"), capsys=capsys)
        assert code == 0, err
        assert "no batch queue" in err
        assert (emulator.stats()["runs"], emulator.stats()["paid_twice"]) == (20, 0)
    (row, *_) = read_dataset(tmp_path / "out").rows
    assert row["_provenance"]["model_asked"] == K2_5


def test_a_model_that_the_server_does_not_have_is_said_before_anything_runs(
    inputs: Path, tmp_path: Path, capsys: Capture
) -> None:
    with Emulator(behaviour=Behaviour(openai_models=("a", "b"))) as emulator:
        flags = ("--openai-url", emulator.openai_url, "--model", "c")
        code, _, err = run(*command(inputs, tmp_path, *flags), capsys=capsys)
    assert "does not list the model c; it has a, b" in err
    assert code == 1, "no row can come of it"


def test_a_server_that_lists_no_models_is_told_from_a_wrong_root_and_is_asked_without_preflight(
    inputs: Path, tmp_path: Path, capsys: Capture
) -> None:
    def answer(asked: Asked) -> bytes:
        if asked.path != "/v1/chat/completions":
            return reply({"error": {"message": "no such path"}}, 404)
        return reply(json.loads(answered(ANSWER).partition(b"\r\n\r\n")[2])["result"])

    with Scripted(answer) as server:
        flags = ("--openai-url", f"{server.url}/v1", "--model", "m")
        err = mistake(*command(inputs, tmp_path, *flags), capsys=capsys)
        assert "no such path" in err
        assert f"is {server.url}/v1 what stands before /chat/completions?" in err
        assert f"{server.url}/v1/models was asked, which --no-preflight leaves out" in err
        code, _, err = run(*command(inputs, tmp_path, *flags, "--no-preflight"), capsys=capsys)
    assert code == 0, err
    assert len(read_dataset(tmp_path / "out").rows) == 20


def test_the_pace_and_the_bound_of_the_command_line_are_kept(inputs: Path, tmp_path: Path, capsys: Capture) -> None:
    async def answer(asked: Asked) -> bytes:
        if "queueRequest" in asked.path:
            return error(5504, 404)
        await asyncio.sleep(0.02)
        return answered(ANSWER)

    with Scripted(answer) as server:
        flags = ("--base-url", server.url, "--api", "run", "--max-concurrency", "3", "--requests-per-minute", "0")
        assert run(*command(inputs, tmp_path, *flags), capsys=capsys)[0] == 0
    assert server.most_in_flight == 3


def test_no_more_jobs_are_in_flight_than_the_command_line_says(tmp_path: Path, capsys: Capture) -> None:
    inputs = tmp_path / "in.jsonl"
    inputs.write_text("".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in receipts(1_300)))
    with Emulator(latency=0.3) as emulator:
        flags = ("--base-url", emulator.base_url, "--poll-interval", "0.05:0.2", "--max-in-flight", "2")
        assert run(*command(inputs, tmp_path, *flags), capsys=capsys)[0] == 0
        stats = emulator.stats()
    assert len(read_dataset(tmp_path / "out").rows) == 1_300
    assert stats["submits"] >= 5
    assert stats["most_jobs_in_flight"] == 2


def test_thinking_and_the_bound_of_an_answer_are_sent(inputs: Path, tmp_path: Path, capsys: Capture) -> None:
    def answer(asked: Asked) -> bytes:
        return error(5504, 404) if "queueRequest" in asked.path else answered(ANSWER)

    with Scripted(answer) as server:
        flags = (
            "--base-url",
            server.url,
            "--api",
            "run",
            "--limit",
            "1",
            "--thinking",
            "--max-completion-tokens",
            "77",
        )
        assert run(*command(inputs, tmp_path, *flags), capsys=capsys)[0] == 0
    body = server.asked[-1].json
    assert body["max_completion_tokens"] == 77
    assert "chat_template_kwargs" not in body


def test_prices_are_the_users_own_and_the_saving_is_shown(inputs: Path, tmp_path: Path, capsys: Capture) -> None:
    long = "Read carefully. " * 300
    flags = ("--emulator", "--api", "run", "--price", "1000:0:0", "--instructions", long, "--max-concurrency", "1")
    code, out, err = run(*command(inputs, tmp_path, *flags), capsys=capsys)
    assert code == 0, err
    summary = read_dataset(tmp_path / "out").summary
    spent = summary["usage"]
    assert summary["would_have_cost_usd"] == pytest.approx((spent["prompt_tokens"] - spent["cached_tokens"]) / 1000)
    assert (summary["cost_usd"], summary["cache_saved_usd"]) == (0, 0), "the emulator was paid"
    assert "cost                nothing: the emulator answered" in out


# ------------------------------------------------------------------------------------------------ pictures, Ctrl-C


def test_picture_files_are_documents(tmp_path: Path, capsys: Capture) -> None:
    files = tmp_path / "pictures"
    files.mkdir()
    # The last two are named otherwise than they are.
    contents = {
        "a.png": pictures.png(),
        "b.jpg": pictures.jpeg(),
        "c.webp": pictures.webp(),
        "d.gif": pictures.gif(),
        "E.JPEG": pictures.png(b"E"),
        "f.gif": pictures.jpeg(b"f"),
    }
    for name, content in contents.items():
        (files / name).write_bytes(content)
    for name, content in {
        "empty.png": b"",
        "drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "cut.jpg": pictures.jpeg()[:-30],
        "page.webp": b"<!doctype html><html/>",
        "letter.jpg": b"%PDF-1.7",
        "text.gif": b"TOTAL: 10.50",
    }.items():
        (files / name).write_bytes(content)

    def answer(asked: Asked) -> bytes:
        return error(5504, 404) if "queueRequest" in asked.path else answered(ANSWER)

    with Scripted(answer) as server:
        flags = ("--base-url", server.url, "--api", "run", "--schema", SCHEMA, "--output", tmp_path / "out")
        code, _, err = run("extract", files / "*", *flags, capsys=capsys)
    assert code == 0, err
    outcome = read_dataset(tmp_path / "out")
    # The letter is read as what it is, a PDF.
    assert (len(outcome.rows), outcome.codes) == (6, {"bad_image": 5, "damaged": 1})
    sent = [asked.json["messages"][-1]["content"][0]["image_url"]["url"] for asked in server.asked[1:]]
    assert sorted(uri.partition(";")[0] for uri in sent) == [
        *(
            "data:image/gif",
            "data:image/jpeg",
            "data:image/jpeg",
            "data:image/png",
            "data:image/png",
            "data:image/webp",
        ),
    ]
    assert {base64.b64decode(uri.partition(",")[2]) for uri in sent} == set(contents.values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_at_once_with_requests_in_flight(number: signal.Signals, inputs: Path, tmp_path: Path) -> None:
    async def answer(_: Asked) -> Any:
        await asyncio.sleep(600)

    with Scripted(answer) as server:
        flags = ("--base-url", server.url, "--api", "run", "--no-preflight")
        process = subprocess.Popen(
            [*PROGRAM, *map(str, command(inputs, tmp_path, *flags))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(CLOUDFLARE_API_TOKEN="t0ken"),
        )  # fmt: skip
        while server.in_flight < 20:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)  # nothing is answered for ten times as long
    assert process.returncode == 128 + number
    assert out == ""
    assert "interrupted" in err
    assert "20" in err, "it is not said how many requests may have been paid for"
    assert "Traceback" not in err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["_journal"]


def test_an_account_that_is_turned_away_fails_the_job_in_one_line(
    inputs: Path, tmp_path: Path, capsys: Capture
) -> None:
    for api in ("run", "chat"):
        with Scripted(lambda _: error(5035, 403)) as server:
            flags = ("--base-url", server.url, "--api", api, "--no-preflight")
            code, out, err = run(*command(inputs, tmp_path, *flags), capsys=capsys)
            assert (code, out) == (1, "")
            assert "5035" in err
            assert len(err.splitlines()) == 1, err
            assert "5035" in mistake(*command(inputs, tmp_path, "--base-url", server.url, "--api", api), capsys=capsys)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["_journal"], "a failed run left files"
