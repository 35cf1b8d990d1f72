"""The public face: what is exported is there, typed, documented, and takes the options that it should."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT

import kimi_beam as kb
from kimi_beam import cli
from pipelines import extract, redrive, stream


def test_every_exported_name_is_there_and_says_what_it_is() -> None:
    assert kb.__all__ == sorted(kb.__all__)
    assert set(kb._HOME) == set(kb.__all__)
    for name in kb.__all__:
        assert getattr(kb, name).__doc__, f"kb.{name} has no docstring"
    with pytest.raises(AttributeError, match="no attribute 'Extrakt'"):
        kb.Extrakt  # noqa: B018


def test_importing_the_package_does_not_import_beam_or_arrow() -> None:
    code = "import sys, kimi_beam; print([m for m in ('apache_beam', 'pyarrow', 'aiohttp') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_run_whose_schema_is_a_file_does_not_wait_for_pydantic(tmp_path: Path) -> None:
    """It takes a tenth of a second, which classes, tools and dead letters that are read need."""
    (tmp_path / "schema.json").write_text('{"type": "object", "properties": {"a": {"type": "string"}}}')
    code = (
        "import sys, kimi_beam as kb, kimi_beam.run, kimi_beam.commands.run_extract\n"
        f"kb.OutputSchema({str(tmp_path / 'schema.json')!r}).response_format\n"
        "print([m for m in ('pydantic', 'pydantic_core') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


COMMON = {
    *("--schema", "--output", "--instructions", "--account-id", "--token-from", "--base-url", "--journal"),
    "--events-queue",
}
"""What each program that is launched takes, as `kimi-beam extract` does."""
OWN = {
    extract: {"--input"},
    redrive: {"--dead-letters", "--code", "--stage"},
    stream: {
        *("--input", "--interval", "--quiet", "--run-for", "--kafka-brokers", "--kafka-topic", "--kafka-group"),
        *("--kafka-expansion", "--pubsub-subscription", "--message", "--id-field", "--text-field"),
        *("--partition", "--max-rows", "--max-seconds", "--max-wait"),
    },
}


@pytest.mark.parametrize("program", OWN, ids=lambda program: program.__name__)
def test_the_programs_that_are_launched_take_the_same_options(
    program: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program.main(["--help"])
    told = capsys.readouterr().out
    options = set(re.findall(r"^  (--[a-z-]+)", told, re.MULTILINE))
    assert options == COMMON | OWN[program]
    for option in options:
        other = "--" + option[2:].replace("-", "_")
        assert other == option or other in told, f"a template's launcher names {option} as {other}"
    with pytest.raises(SystemExit):
        cli.main(["redrive", "--help"])
    known = capsys.readouterr().out
    assert [option for option in COMMON if option not in known] == []


def test_no_file_of_the_project_names_a_path_of_a_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    for name in listed:
        if not (ROOT / name).is_file():
            continue
        text = (ROOT / name).read_bytes()
        assert not re.search(rb"(?<![\w./])/(?:home|root|work)/\w", text), name
