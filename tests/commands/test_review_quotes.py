"""`kimi-beam review --quotes`: the text around each value, read again of the files, and what is never in it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from harness import ACCOUNT, RECEIPT
from running_cli import mistake, run

from kimi_beam.emulator import Emulator
from kimi_beam.output.review_queue import ReviewLine, ReviewQueue
from kimi_beam.output.review_quotes import with_quotes

IBAN = "DE89 3704 0044 0532 0130 00"


def text(number: int) -> str:
    return f"Shop {number} Ltd\nBank: {IBAN}\nTOTAL: {number}.50\n\n\n  paid in cash,\n  thank you\n"


def answer(messages: Any, _: Any) -> str:
    number = str(messages[-1]["content"]).partition("Shop ")[2].partition(" ")[0]
    return json.dumps({"company": f"Shop {number} Ltd", "total": 999.25 if number == "3" else float(f"{number}.5")})


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with inputs of three kinds and the output of their run."""
    root = tmp_path_factory.mktemp("quotes")
    inputs = root / "in"
    inputs.mkdir()
    for number in (1, 2, 3):
        (inputs / f"{number}.txt").write_text(text(number))
    lines = [{"key": f"line-{number}", "body": text(number)} for number in (4, 5)]
    (inputs / "more.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with zipfile.ZipFile(inputs / "scans.zip", "w") as archive:
        archive.writestr("six.txt", text(6))
    schema = root / "receipt.json"
    schema.write_text(json.dumps(RECEIPT))
    with Emulator(answer=answer) as emulator:
        words = ["extract", inputs, "--schema", schema, "--base-url", emulator.base_url, "--output", root / "out"]
        words += ["--account-id", ACCOUNT, "--ground", *READING]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CLOUDFLARE_API_TOKEN", "secret")
            from kimi_beam import cli

            assert cli.main([str(word) for word in words]) == 0
    return root


READING = ["--id-field", "key", "--text-field", "body"]


def queue(root: Path, *words: object, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Mapping[str, Any]], str]:
    code, printed, err = run("review", root / "out", *words, capsys=capsys)
    assert code == 0, err
    lines = map(json.loads, printed.splitlines())
    return {Path(line["id"]).name + line["pointer"]: line for line in lines}, err


def test_each_value_is_quoted_with_the_text_around_it_in_one_line(
    extracted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, err = queue(extracted, "--quotes", *READING, capsys=capsys)
    assert len(lines) == 12
    for number, name in enumerate(["1.txt", "2.txt", "3.txt", "line-4", "line-5", "six.txt"], 1):
        if number != 3:
            quote = lines[f"{name}/total"]["quote"]
            assert quote["value"] == f"{number}.50"
            assert quote["before"] == f"Shop {number} Ltd Bank: {IBAN} TOTAL:"
            assert quote["after"] == "paid in cash, thank you"
        assert lines[f"{name}/company"]["quote"]["value"] == f"Shop {number} Ltd"
    assert lines["3.txt/total"]["value"] == 999.25
    assert "quote" not in lines["3.txt/total"], "a value that stands nowhere has no place to quote"
    assert lines["six.txt/total"]["source"].endswith("scans.zip!/six.txt")
    assert "no quotes" not in err


def test_without_the_option_no_file_is_read_and_no_text_is_shown(
    extracted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, _ = queue(extracted, capsys=capsys)
    assert not any("quote" in line for line in lines.values())


def test_what_is_redacted_is_in_no_quote(extracted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, _ = queue(extracted, "--quotes", "--redact", "iban", *READING, capsys=capsys)
    assert lines["1.txt/total"]["quote"]["before"] == "Shop 1 Ltd Bank: [iban] TOTAL:"
    assert "3704" not in json.dumps(lines)
    assert "say --quotes too" in mistake("review", extracted / "out", "--redact", "iban", capsys=capsys)


def test_a_text_that_has_changed_is_not_quoted_and_that_is_said(
    extracted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed, gone = extracted / "in" / "1.txt", extracted / "in" / "2.txt"
    try:
        changed.write_text("Dear Sir,\n" + text(1))
        gone.unlink()
        lines, err = queue(extracted, "--quotes", capsys=capsys)
    finally:
        changed.write_text(text(1))
        gone.write_text(text(2))
    quoted = {name.partition("/")[0] for name, line in lines.items() if "quote" in line}
    assert quoted == {"3.txt", "six.txt"}, "the lines of JSON are read by other keys than those of the run"
    assert "4 documents have no quotes" in err


def line(start: int, end: int, match: str, value: str) -> ReviewQueue:
    place = {"match": match, "start": start, "end": end}
    return ReviewQueue((ReviewLine("a", "/x", "/x", value, 0.9, {}, place, source="a.txt"),), 0, 0.9, 0, {})


def test_what_resembles_a_value_is_quoted_and_a_long_one_is_cut() -> None:
    read = f"before {'x' * 90} TOTAL: 24.80 EUR {'y' * 90}"
    at = read.index("24.80")
    (quoted,) = with_quotes(line(at, at + 5, "near", "24.90"), lambda *_: {"a": read}).queue.lines
    assert quoted.quote is not None
    assert quoted.quote["value"] == "24.80"
    assert quoted.quote["before"].endswith("x TOTAL:")
    assert max(map(len, quoted.quote.values())) <= 80
    long = "word " * 200
    (quoted,) = with_quotes(line(0, 999, "normalised", long), lambda *_: {"a": long}).queue.lines
    assert quoted.quote is not None
    assert len(quoted.quote["value"]) <= 301
