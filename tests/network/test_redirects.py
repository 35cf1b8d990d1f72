"""A service that sends on to another place: never followed, as requests carry the token; told as a wrong URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness import receipts, service
from running_cli import SCHEMA, run
from scripted import Asked, Scripted, answered, completion, error, reply

import kimi_beam as kb
from kimi_beam.commands.preflight import check_service
from kimi_beam.errors import ConfigError
from kimi_beam.wire.completions import decode_run
from kimi_beam.wire.envelopes import HttpReply, Refused
from kimi_beam.wire.protocol import Trouble, decode_poll, decode_submit
from kimi_beam.wire.service_errors import Remedy

STATUSES = [300, 301, 302, 303, 304, 305, 307, 308]
ELSEWHERE = "https://me:hidden-word@kimi.example.com/v4/x?key=hidden-too#there"
ANSWER = '{"company": "A", "date": null, "address": null, "total": "1"}'
TICKET = {"result": {"request_id": "r"}, "success": True}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    "body", [b"", b"<html>moved</html>", b'{"success":true,"result":{"request_id":"r"}}', b'{"error":{"message":"m"}}']
)
def test_a_redirect_is_no_refusal_of_the_documents_whatever_its_body_says(status: int, body: bytes) -> None:
    came = HttpReply(status, body, location=ELSEWHERE)
    polled = decode_poll(came, 0.0)
    assert isinstance(polled, Trouble)
    for found in (decode_submit(came, 0.0), decode_run(came, 0.0), Refused(polled.error)):  # type: ignore[arg-type]
        assert isinstance(found, Refused)
        assert found.error.remedy is Remedy.ACCOUNT
        assert "https://kimi.example.com/v4/x" in str(found.error)
        assert "hidden" not in str(found.error)


def test_a_redirect_with_another_codes_envelope_or_no_place_is_one_too() -> None:
    envelope = b'{"success":false,"errors":[{"code":3040,"message":"full"}]}'
    for location in ("", "/login?token=hidden", "http://[bad", "//kimi.example.com:99999999/x"):
        found = decode_submit(HttpReply(302, envelope, location=location), 0.0)
        assert isinstance(found, Refused)
        assert found.error.remedy is Remedy.ACCOUNT
        assert "hidden" not in str(found.error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("api", ["batch", "run", "chat"])
@pytest.mark.parametrize("flags", [(), ("--no-preflight",)], ids=["preflight", "no preflight"])
def test_a_run_ends_with_one_line_that_names_the_other_place(
    status: int, api: str, flags: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("TOTAL: 1")
    with Scripted(lambda _: reply(TICKET)) as other:
        with Scripted(lambda _: reply(b"moved", status, location=f"{other.url}/v4?key=hidden")) as server:
            where = ("--base-url", server.url, "--api", api, "--poll-interval", "0.05:0.2", *flags)
            command = ("extract", tmp_path / "a.txt", "--schema", SCHEMA, "--output", tmp_path / "out", *where)
            code, _, err = run(*command, capsys=capsys)
        assert other.asked == [], "a redirect was followed, with the token"
    assert code == (1 if flags else 2)
    said = [line for line in err.splitlines() if "sends on to" in line]
    assert len(said) == 1, err
    assert f"{other.url}/v4" in said[0]
    assert "hidden" not in err


def test_a_submit_that_is_sent_on_gives_no_document_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The preflight is answered, and so are polls: only what is paid for is sent on."""

    def script(asked: Asked) -> bytes:
        return error(5504, 404) if "request_id" in asked.json else reply(b"", 307, location="/elsewhere")

    (tmp_path / "a.txt").write_text("TOTAL: 1")
    with Scripted(script) as server:
        where = ("--base-url", server.url, "--poll-interval", "0.05:0.2")
        command = ("extract", tmp_path / "a.txt", "--schema", SCHEMA, "--output", tmp_path / "out", *where)
        code, _, err = run(*command, capsys=capsys)
    assert code == 1
    assert "/elsewhere" in err
    assert not list((tmp_path / "out").glob("dead-letters*")), "all documents were given up, for a wrong URL"


def test_a_poll_that_is_sent_on_ends_the_run_and_the_next_one_polls_what_was_paid_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submits: list[Asked] = []
    moved = True

    def script(asked: Asked) -> bytes:
        if "requests" in asked.json:
            submits.append(asked)
            return reply(TICKET)
        if asked.json["request_id"] != "r":
            return error(5504, 404)
        if moved:
            return reply(b"", 302, location="http://x.example")
        name = submits[0].json["requests"][0]["external_reference"]
        item = {"external_reference": name, "result": completion(ANSWER)}
        return reply({"result": {"results": [item]}, "success": True})

    (tmp_path / "a.txt").write_text("TOTAL: 1")
    with Scripted(script) as server:
        where = ("--base-url", server.url, "--poll-interval", "0.05:0.2")
        command = ("extract", tmp_path / "a.txt", "--schema", SCHEMA, "--output", tmp_path / "out", *where)
        code, _, err = run(*command, capsys=capsys)
        assert code == 1
        assert "http://x.example" in err
        moved = False
        code, out, err = run(*command, capsys=capsys)
    assert (code, len(submits)) == (0, 1), err
    assert "extractions         1" in out


@pytest.mark.parametrize("where", [{"openai": True}, {}])
def test_the_preflight_of_any_kind_of_server_refuses_it(where: dict[str, Any]) -> None:
    with Scripted(lambda _: reply(b"", 301, location="https://right.example/v1/models")) as server:
        asked = kb.WorkersAI(openai_url=server.url, model="m") if where else service(server.url)
        with pytest.raises(ConfigError, match=r"https://right\.example/v1/models"):
            check_service(asked, sleep=lambda _: None)


def test_another_servers_redirect_is_not_taken_for_a_refusal_of_the_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(asked: Asked) -> bytes:
        if asked.method == "GET":
            return reply({"data": [{"id": "m"}]})
        return reply(b'{"error":"response_format moved"}', 308, location="/v2") if asked.body else answered()

    (tmp_path / "in.jsonl").write_text("".join(f'{{"id":"{d.id}","text":"x"}}\n' for d in receipts(3)))
    with Scripted(script) as server:
        where = ("--openai-url", server.url, "--model", "m", "--poll-interval", "0.05:0.2")
        command = ("extract", tmp_path / "in.jsonl", "--schema", SCHEMA, "--output", tmp_path / "out", *where)
        code, _, err = run(*command, capsys=capsys)
    assert (code, "/v2" in err) == (1, True), err
