"""The public face: what is exported is there, typed, documented, and what the README shows is true."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT

import kimi_beam as kb
from kimi_beam import cli
from kimi_beam.types import Code, Stage
from pipelines import extract, redrive, stream

README = (ROOT / "README.md").read_text()


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


def test_every_failure_code_and_stage_is_in_the_readme() -> None:
    for word in (*Code.__args__, *Stage.__args__):  # type: ignore[attr-defined]
        assert f"`{word}`" in README, word


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_the_readmes_code_uses_names_and_arguments_that_exist(code: str) -> None:
    import inspect

    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == "kb":
                target = getattr(kb, node.func.attr)
                inspect.signature(target).bind(*node.args, **{k.arg: k for k in node.keywords if k.arg})


def test_the_readmes_pipeline_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    from kimi_beam.emulator import Emulator

    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "ErrorHandler" in block)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text(
        "INVOICE No. A-1\nSeller: Example Ltd\nDate: 2026-03-01\nCurrency: EUR\nNet: 10.00\nTax: 2.00\nTotal: 12.00\n"
    )
    (tmp_path / "in" / "b.txt").write_text("")
    with Emulator() as emulator:
        code = code.replace("from_env()", f'from_env(base_url="{emulator.base_url}")')
        code = code.replace("beam.Pipeline()", 'beam.Pipeline("FnApiRunner", argv=[])')
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    rows = sum(pq.read_metadata(path).num_rows for path in (tmp_path / "out").glob("invoices-*.parquet"))
    letters = sum(len(path.read_text().splitlines()) for path in (tmp_path / "out").glob("dead-*.jsonl"))
    assert rows + letters == 2
    assert letters >= 1


OTHERS = ("--schema", "--port", "--latency", "--faults", "--strict", "--help", "--sent", "--ttl")
"""Options of the other commands."""
WRANGLERS = ("--source", "--model-name", "--events")
"""Options of Cloudflare's own program."""


def test_the_readme_names_no_option_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    help_text = ""
    for command in ("extract", "redrive"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        help_text += capsys.readouterr().out
    # Its own section has the options of the program that is launched, of runners, and of what builds a template.
    before, launching, after = re.split(r"^## (?=On any runner|What a row holds)", README, flags=re.MULTILINE)
    for option in re.findall(r"--[a-z][a-z0-9_-]+", before + after):
        known = option in help_text or option in (*OTHERS, *WRANGLERS) or "_" in option  # Beam's have underscores
        assert known, f"the README names {option}, which neither extract nor redrive knows"
    with pytest.raises(SystemExit):
        extract.main(["--help"])
    program = capsys.readouterr().out
    (told,) = re.findall(r"It takes (.*?), and Beam's options", launching, flags=re.DOTALL)
    named = re.findall(r"`(--[a-z-]+)`", told)
    assert len(named) == 9
    assert [option for option in named if option not in program] == []


COMMON = {
    *("--schema", "--output", "--instructions", "--account-id", "--token-from", "--base-url", "--journal"),
    "--events-queue",
}
"""What each program that is launched takes, as `kimi-beam extract` does."""
OWN = {
    extract: {"--input"},
    redrive: {"--dead-letters", "--code", "--stage"},
    stream: {
        *("--input", "--interval", "--quiet", "--stop-after", "--kafka-brokers", "--kafka-topic", "--kafka-group"),
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
