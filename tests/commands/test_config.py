"""`kimi-beam.toml` and `kimi-beam config`: which value counts, whence it is, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from harness import read_dataset, receipts
from running_cli import SCHEMA, mistake, run

from kimi_beam.commands.config_schema import config_schema

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PUBLISHED = Path(__file__).parents[2] / "docs" / "reference" / "kimi-beam.schema.json"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("CLOUDFLARE_ACCOUNT_ID", raising=False)
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _file(text: str, name: str = "kimi-beam.toml") -> None:
    Path(name).write_text(text, encoding="utf-8")


def _shown(*words: object, capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[Any, str]]:
    code, out, err = run("config", "show", *words, "--json", capsys=capsys)
    assert (code, err) == (0, "")
    return {name: (option["value"], option["from"]) for name, option in json.loads(out)["options"].items()}


def _documents(count: int) -> None:
    _file("".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in receipts(count)), "in.jsonl")


def test_extract_runs_without_a_flag_where_the_file_says_all(capsys: pytest.CaptureFixture[str]) -> None:
    _documents(5)
    _file(
        f"[extract]\ninputs = ['in.jsonl']\nschema = '{SCHEMA}'\noutput = 'out'\nemulator = true\nlimit = 3\n"
        "[beam]\ndirect_num_workers = 1\n"
    )
    code, _, err = run("extract", "--progress", "none", capsys=capsys)
    assert code == 0, err
    assert len(read_dataset(Path("out")).rows) == 3
    code, _, err = run("extract", "--limit", 4, "--output", "other", capsys=capsys)
    assert code == 0, err
    assert len(read_dataset(Path("other")).rows) == 4


def test_a_flag_goes_before_the_environment_that_before_the_file_and_that_before_the_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _file("[extract]\nrepairs = 2\nsamples = 3\nmax-cost = '$4'\ncoerce = true\n")
    monkeypatch.setenv("KIMI_BEAM_REPAIRS", "5")
    monkeypatch.setenv("KIMI_BEAM_SAMPLES", "7")
    monkeypatch.setenv("KIMI_BEAM_COERCE", "false")
    shown = _shown("--repairs", 6, capsys=capsys)
    assert shown["repairs"] == (6, "command line")
    assert shown["samples"] == (7, "KIMI_BEAM_SAMPLES")
    assert shown["max-cost"] == (4.0, "kimi-beam.toml")
    assert shown["coerce"] == (False, "KIMI_BEAM_COERCE")
    assert shown["deadline"] == (86_400.0, "default")


def test_a_flag_with_the_default_value_still_goes_before_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    _file("[extract]\nrepairs = 2\n")
    assert _shown("--repairs", 1, capsys=capsys)["repairs"] == (1, "command line")


def test_the_account_of_the_environment_goes_before_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _file("[extract]\naccount-id = 'of-the-file'\n")
    assert _shown(capsys=capsys)["account-id"] == ("of-the-file", "kimi-beam.toml")
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "of-the-environment")
    assert _shown(capsys=capsys)["account-id"] == ("of-the-environment", "CLOUDFLARE_ACCOUNT_ID")


def test_a_flag_drops_what_it_excludes_in_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    _file("[extract]\nbase-url = 'http://localhost:1'\njournal = 'j'\n")
    shown = _shown("--emulator", "--no-journal", capsys=capsys)
    assert "base-url" not in shown
    assert "journal" not in shown
    assert _shown(capsys=capsys)["base-url"] == ("http://localhost:1", "kimi-beam.toml")


def test_the_file_that_is_named_is_read_instead(capsys: pytest.CaptureFixture[str]) -> None:
    _file("[extract]\nrepairs = 2\n")
    _file("[extract]\nrepairs = 9\n", "other.toml")
    assert _shown("--config", "other.toml", capsys=capsys)["repairs"] == (9, "other.toml")
    assert _shown("--config=/dev/null", capsys=capsys)["repairs"] == (1, "default")


def test_lists_and_tables_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    _file(
        "[extract]\nredact = ['iban', 'email']\nprompt-metadata = 'a,b'\npoll-interval = [2, 30]\n"
        "price = [1, 0.5, 4]\n[extract.gateway-metadata]\nteam = 'x'\n"
    )
    shown = {name: value for name, (value, _) in _shown(capsys=capsys).items()}
    assert shown["redact"] == ["iban", "email"]
    assert shown["prompt-metadata"] == ["a", "b"]
    assert shown["poll-interval"] == [2.0, 30.0]
    assert shown["price"] == [1.0, 0.5, 4.0]
    assert shown["gateway-metadata"] == {"team": "x"}


def test_redrive_takes_the_file_except_for_what_belongs_to_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    _file("[extract]\nschema = 's.json'\noutput = 'out'\nid-field = 'number'\n")
    assert "--output" in mistake("redrive", "out", capsys=capsys)
    assert "s.json" in mistake("redrive", "out", "--output", "out2", capsys=capsys)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[extract]\nmodle = 'x'\n", "did you mean 'model'"),
        ("[extract]\nmax_cost = 1\n", "did you mean 'max-cost'"),
        ("[extract]\ninput = ['x']\n", "did you mean 'inputs'"),
        ("[exract]\nmodel = 'x'\n", "did you mean 'extract'"),
        ("model = 'x'\n", "belongs below [extract]"),
        ("[extract]\nmax-cost = -1\n", "max-cost: '-1'"),
        ("[extract]\nrepairs = 'many'\n", "repairs: 'many'"),
        ("[extract]\nrepairs = true\n", "repairs: takes a text or a number"),
        ("[extract]\nground = 'yes'\n", "ground: is true or false"),
        ("[extract]\npages = 'all'\n", "pages: 'all' is none of"),
        ("[extract]\ninputs = [1]\n", "inputs is a list"),
        ("[extract]\nbase-url = 'http://a'\nemulator = true\n", "exclude each other"),
        ("[extract\n", "is not TOML"),
        ("extract = 1\n", "extract is a table"),
    ],
)
@pytest.mark.parametrize("command", ["extract", "config"])
def test_mistakes_in_the_file_are_refused_in_one_line(
    command: str, text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _file(text)
    err = mistake(*(["config", "show"] if command == "config" else [command]), capsys=capsys)
    assert told in err
    assert "kimi-beam.toml" in err


@pytest.mark.parametrize(
    "line",
    [
        "token-from = 'SECRET'",
        "token = 'SECRET'",
        "api-token = 'short-SECRET'",
        "gateway-token-from = 'SECRET'",
        "password-from = 'SECRET'",
        "model = 'SECRET'",
        "instructions = 'Bearer SECRET'",
        "gateway-metadata = {a = 'SECRET'}",
        "token-from = SECRET",
    ],
)
def test_a_token_in_the_file_is_refused_and_not_repeated(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5kL7n"
    _file(f"[extract]\n{line.replace('SECRET', secret)}\n")
    err = mistake("extract", capsys=capsys)
    assert secret not in err
    assert "kimi-beam.toml" in err


def test_a_wrong_variable_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIMI_BEAM_REPAIRS", "many")
    assert "KIMI_BEAM_REPAIRS" in mistake("config", "show", capsys=capsys)
    monkeypatch.setenv("KIMI_BEAM_REPAIRS", "1")
    monkeypatch.setenv("KIMI_BEAM_GROUND", "maybe")
    assert "KIMI_BEAM_GROUND" in mistake("extract", capsys=capsys)


def test_a_file_that_is_named_and_missing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.toml" in mistake("extract", "--config", "nowhere.toml", capsys=capsys)


def test_help_is_shown_whatever_the_file_says(capsys: pytest.CaptureFixture[str]) -> None:
    _file("[extract]\nmodle = 1\n")
    assert run("extract", "--help", capsys=capsys)[0] == 0


def test_the_published_schema_is_that_of_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("config", "schema", capsys=capsys)
    assert code == 0
    assert PUBLISHED.read_text(encoding="utf-8") == out, (
        "kimi-beam config schema > docs/reference/kimi-beam.schema.json"
    )


@pytest.mark.parametrize(
    ("text", "is_good"),
    [
        ("[extract]\ninputs = ['a']\nmax-cost = 5\npoll-interval = [1, 2]\nredact = ['iban']\n", True),
        ("[extract]\nformats = 'local'\nmax-dead-letters = '5%'\ngateway-metadata = {a = 1}\n", True),
        ("[extract]\nground = true\ntoken-from = 'env:TOKEN'\n[beam]\nrunner = 'PrismRunner'\n", True),
        ("[extract]\nmodle = 'x'\n", False),
        ("[extract]\nground = 'yes'\n", False),
        ("[extract]\nmax-cost = -1\n", False),
        ("[extract]\npages = 'all'\n", False),
        ("[extract]\ntoken-from = 'abc'\n", False),
        ("[other]\n", False),
    ],
)
def test_the_schema_and_the_command_line_agree(text: str, is_good: bool, capsys: pytest.CaptureFixture[str]) -> None:
    validator = jsonschema.Draft202012Validator(config_schema())
    assert validator.is_valid(tomllib.loads(text)) is is_good
    _file(text)
    assert (run("config", "show", capsys=capsys)[0] == 0) is is_good
