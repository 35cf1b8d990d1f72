"""`--examples`, `--glossary` and `--language`: what their files say reaches the model, and mistakes cost nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from harness import read_dataset
from scripted import Asked, Scripted, answered

from kimi_beam.cli import main

SCHEMA = {"type": "object", "properties": {"shop": {"type": "string"}}, "required": ["shop"]}


def _run(directory: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, list[dict[str, object]]]:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "0" * 32)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "token")
    (directory / "s.json").write_text(json.dumps(SCHEMA))
    (directory / "d.txt").write_text("Shop A")
    asked: list[dict[str, object]] = []

    def answer(request: Asked) -> bytes:
        asked.append(json.loads(request.body))
        return answered(message={"content": '{"shop": "A"}'})

    with Scripted(answer) as server:
        where = ("--base-url", server.url, "--api", "run", "--no-preflight", "--no-journal")
        files = ("--schema", str(directory / "s.json"), "--output", str(directory / "o"))
        code = main(["extract", str(directory / "d.txt"), *files, *where, *options])
    return code, asked


def test_the_model_is_told_what_the_files_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples, glossary = tmp_path / "e.jsonl", tmp_path / "g.json"
    examples.write_text('\ufeff{"text": "Shop B, EXAMPLE", "answer": {"shop": "B"}}\n\n')
    glossary.write_text('{"Laden": "a SHOP-TERM"}')
    options = ("--examples", str(examples), "--glossary", str(glossary), "--language", "German")
    code, asked = _run(tmp_path, monkeypatch, *options)
    assert (code, len(asked)) == (0, 1)
    system = asked[0]["messages"][0]["content"]  # type: ignore[index]
    for told in (
        "```example-1\nShop B, EXAMPLE\n```",
        '```answer-1\n{"shop":"B"}\n```',
        "Laden: a SHOP-TERM",
        "German",
    ):
        assert told in system
    (row,) = read_dataset(tmp_path / "o").rows
    assert row["_provenance"]["prompt"].startswith("1-")


@pytest.mark.parametrize(
    ("option", "content", "reason"),
    [
        ("--examples", '{"text": "a", "answer": {"shop": 1}}', "number 1 is invalid: /shop"),
        ("--examples", '{"text": "a", "answer": {"shop": "A"}}\n{"text": "a"}', "line 2 of"),
        ("--examples", '{"text": "a", "answer": {}, "id": 3}', "exactly the keys"),
        ("--examples", '{"text": "a", "text": "b", "answer": {}}', "line 1 of .* is not JSON"),
        ("--examples", "\n", "holds no example"),
        ("--examples", None, "cannot read the examples from"),
        ("--glossary", '["a"]', "no JSON object"),
        ("--glossary", '{"a": 1}', "no JSON object"),
        ("--glossary", '{"a": "b", "a": "c"}', "is not JSON"),
        ("--glossary", None, "cannot read the glossary from"),
    ],
)
def test_a_file_with_a_mistake_is_named_before_anything_is_sent(
    option: str,
    content: str | None,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if content is not None:
        (tmp_path / "file").write_text(content)
    code, asked = _run(tmp_path, monkeypatch, option, str(tmp_path / "file"))
    assert (code, asked) == (2, [])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(reason, line), line


def test_a_language_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, asked = _run(tmp_path, monkeypatch, "--language", "```")
    assert (code, asked) == (2, [])
    assert "no name of a language, such as German or de-CH" in capsys.readouterr().err
