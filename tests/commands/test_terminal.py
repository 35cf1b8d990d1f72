"""The terminal: ids, file names, answers and the service's messages are shown escaped, so they cannot control it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from harness import read_dataset
from hypothesis import given
from hypothesis import strategies as st
from running_cli import SCHEMA, run
from scripted import Asked, Scripted, completion, error, reply

from kimi_beam.commands import console
from kimi_beam.wire.printable import printable

NASTY = "\x1b[31mred\x1b]0;title\x07\x9b2J\x85\x7f\u202egnp\u2066\u200b\r\u2028end"


def steers(text: str) -> set[str]:
    """The characters of an output that are more than a line of print."""
    return {c for c in text if not c.isprintable() and c != "\n"}


@given(st.text())
def test_escaped_text_is_one_printable_line_and_printable_text_is_unchanged(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert printable(shown) == shown
    assert text.isprintable() <= (shown == text)


def script(asked: Asked) -> bytes:
    wanted = asked.json
    if "requests" in wanted:
        ours = [request["external_reference"] for request in wanted["requests"]]
        return reply({"result": {"request_id": ",".join(ours)}, "success": True})
    names = wanted["request_id"].split(",")
    if len(names) == 1 and "-" not in names[0][8:]:
        return error(5504, 404)
    items: list[Any] = []
    answer = json.dumps({"company": NASTY, "date": None, "address": None, "total": "1"})
    for number, name in enumerate(names):
        failed = {"error": {"code": 5001, "message": NASTY}, "success": False}
        items.append(
            {"external_reference": name, **(failed if number % 2 else {"result": completion(answer, model=NASTY)})}
        )
    return reply({"result": {"results": items}, "success": True})


def test_a_whole_run_over_names_and_answers_that_are_nasty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.dumps({"id": f"{n}{NASTY}", "text": f"TOTAL {n}"}) for n in range(6)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    with Scripted(script) as server:
        flags = ("--base-url", server.url, "--poll-interval", "0.05:0.2", "--preview", "9")
        command = ("extract", tmp_path / "in.jsonl", "--schema", SCHEMA, "--output", tmp_path / "out", *flags)
        code, out, err = run(*command, capsys=capsys)
    assert code == 0, err
    assert steers(out + err) == set()
    assert r"\x1b[31mred" in out, "it is shown that there is something"
    outcome = read_dataset(tmp_path / "out")
    assert len(outcome.rows) == len(outcome.letters) == 3
    assert {row["company"] for row in outcome.rows} == {NASTY}, "files hold what was said"
    assert all(letter["document_id"].endswith(NASTY) for letter in outcome.letters)


def test_a_service_that_turns_the_run_away_in_nasty_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = {"success": False, "errors": [{"code": 10000, "message": NASTY}]}
    (tmp_path / "a.txt").write_text("x")
    with Scripted(lambda _: reply(told, 401)) as server:
        for more in ((), ("--no-preflight",)):
            flags = ("--base-url", server.url, "--poll-interval", "0.05:0.2", *more)
            command = ("extract", tmp_path / "a.txt", "--schema", SCHEMA, "--output", tmp_path / "out", *flags)
            code, out, err = run(*command, capsys=capsys)
            assert code in (1, 2)
            assert r"\x1b[31mred" in err
            assert steers(out + err) == set()


def test_file_names_and_schemas_that_are_nasty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nasty = NASTY.replace("\u2028", "").replace("\x85", "")
    schema = tmp_path / "s.json"
    schema.write_text(json.dumps({"type": "object", "properties": {nasty: {"type": "string", "description": NASTY}}}))
    for command in (
        ("extract", tmp_path / f"no{nasty}.txt", "--schema", SCHEMA, "--output", tmp_path / "o", "--emulator"),
        ("extract", __file__, "--schema", tmp_path / f"no{nasty}.json", "--output", tmp_path / "o", "--emulator"),
        ("schema", "show", schema),
        ("schema", "show", schema, "--sent"),
        ("journal", "ls", tmp_path / f"no{nasty}"),
        ("audit", tmp_path / f"no{nasty}"),
    ):
        _, out, err = run(*command, capsys=capsys)
        assert steers(out + err) == set(), command
        assert out + err
    code, out, _ = run("schema", "show", schema, "--sent", capsys=capsys)
    assert code == 0
    assert list(json.loads(out)["json_schema"]["schema"]["properties"]) == [nasty], "what is JSON stays the same JSON"


def test_a_traceback_of_a_verbose_run_is_shown_escaped() -> None:
    code = (
        "import sys\n"
        "from kimi_beam import cli\n"
        f"def main(): raise RuntimeError({NASTY!r} + 'one\\ntwo')\n"
        "cli.main = main\n"
        "sys.exit(cli.program())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    err = done.stderr.decode()
    assert done.returncode == 1
    assert "Traceback" in err
    assert r"\x1b[31mred" in err
    assert steers(err) == set()


def test_a_line_says_one_thing(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("no\nkimi-beam: all is well")
    assert capsys.readouterr().err == "kimi-beam: no\\nkimi-beam: all is well\n"
