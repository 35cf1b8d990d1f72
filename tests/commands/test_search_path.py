"""The search path: no module in the working directory runs in place of an installed one, in any command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import ACCOUNT, receipts
from patience import HANGS

from kimi_beam.emulator import Emulator

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "schemas" / "receipt.json"
INSTALLED = (
    "aiohttp", "apache_beam",
    "asyncio", "certifi", "concurrent", "cryptography", "dataclasses", "fsspec", "grpc", "hmac",
    "httpx", "json", "logging", "numpy", "orjson", "pickle", "pyarrow", "pydantic", "queue", "random", "requests",
    "secrets", "socket",
    "sqlite3", "ssl", "starlette", "statistics", "tempfile", "typing_extensions", "uuid", "uvicorn",
    "zipfile",
)  # fmt: skip
ABSENT = ("boto3", "brotli", "h2", "sitecustomize_of_ours", "socksio", "uvloop", "zstd")
MODEL = """\
from pydantic import BaseModel, field_validator


class Receipt(BaseModel):
    merchant: str | None = None

    @field_validator("merchant")
    @classmethod
    def known(cls, merchant):
        from beside_the_class import KNOWN  # imported when a validator runs, in a worker
        return merchant
"""
WAYS = {"program": [], "-m": ["-m", "kimi_beam"]}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A working directory in which modules lie that tell when they are imported."""
    directory = tmp_path / "here"
    directory.mkdir()
    (tmp_path / "bin").mkdir()
    # As the installed program begins: what comes first on the search path is the directory of the script.
    (tmp_path / "bin" / "kimi-beam").write_text("import sys\nfrom kimi_beam.cli import program\nsys.exit(program())\n")
    for name in (*INSTALLED, *ABSENT):
        (directory / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write({name!r} + ' ')\n")
    lines = [json.dumps({"id": d.id, "text": d.text}) + "\n" for d in receipts(4)]
    (directory / "docs.jsonl").write_text("".join(lines))
    return directory


def call(here: Path, way: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    script = WAYS[way] or [str(here.parent / "bin" / "kimi-beam")]
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    env |= {"CLOUDFLARE_ACCOUNT_ID": ACCOUNT, "CLOUDFLARE_API_TOKEN": "any"}
    return subprocess.run(
        [sys.executable, *script, *map(str, arguments)],
        cwd=here,
        env=env,
        capture_output=True,
        text=True,
        timeout=HANGS,
    )


def executed(here: Path) -> str:
    path = here.parent / "executed"
    return path.read_text() if path.exists() else ""


PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


@pytest.mark.parametrize(("way", "options"), [("program", ()), ("-m", PROCESSES)])
def test_modules_beside_the_documents_are_not_executed(
    way: str, options: tuple[str, ...], here: Path, emulator: Emulator
) -> None:
    where = ("--schema", SCHEMA, "--base-url", emulator.base_url, "--poll-interval", "0.02:0.1")
    done = call(here, way, "extract", "docs.jsonl", *where, "--output", "out", *options)
    assert (done.returncode, executed(here)) == (0, ""), done.stderr
    assert json.loads((here / "out" / "summary.json").read_text())["documents"] == 4


@pytest.mark.parametrize(("way", "options"), [("-m", ()), ("program", PROCESSES)])
def test_a_class_of_the_working_directory_is_found_and_nothing_else_there_takes_precedence(
    way: str, options: tuple[str, ...], here: Path, emulator: Emulator
) -> None:
    for name in ABSENT:
        (here / f"{name}.py").unlink()
    (here / "my_models.py").write_text(MODEL)
    (here / "beside_the_class.py").write_text("KNOWN = ['Greggs']\n")
    where = ("--schema", "my_models:Receipt", "--base-url", emulator.base_url, "--poll-interval", "0.02:0.1")
    done = call(here, way, "extract", "docs.jsonl", *where, "--output", "out", *options)
    assert (done.returncode, executed(here)) == (0, ""), done.stderr
    summary = json.loads((here / "out" / "summary.json").read_text())
    assert (summary["extractions"], summary["dead_letters"]) == (4, {})


def test_no_other_command_imports_modules_from_the_working_directory(here: Path, emulator: Emulator) -> None:
    way = "program"
    where = ("--schema", SCHEMA, "--base-url", emulator.base_url, "--poll-interval", "0.02:0.1")
    call(here, way, "extract", "docs.jsonl", *where, "--output", "out")
    for command, code in (
        (("redrive", "out", *where, "--output", "out2"), 0),
        (("schema", "show", SCHEMA), 0),
        (("schema", "diff", SCHEMA, SCHEMA), 0),
        (("journal", "ls", "out/_journal"), 0),
        (("audit", "out"), 2),
        (("models",), 0),
        (("emulate", "--faults", "none-of-ours"), 2),
    ):
        done = call(here, way, *command)
        assert (command, done.returncode, executed(here)) == (command, code, ""), done.stderr


def test_the_emulators_own_module_leaves_it_alone_too(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kimi_beam.emulator", "--faults", "none-of-ours"],
        cwd=here,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, executed(here)) == (2, "")


def test_another_program_that_imports_the_package_keeps_its_search_path(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("import kimi_beam\n")
    (package / "__main__.py").write_text("import sys\nprint(sys.path[0])\n")
    done = subprocess.run([sys.executable, "-m", "mine", "kimi_beam"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == f"{tmp_path}\n", done.stderr


def test_a_class_that_an_installed_module_hides_is_said_to_be_hidden(here: Path) -> None:
    (here / "queue.py").write_text(MODEL)
    done = call(here, "program", "schema", "show", "queue:Receipt")
    assert done.returncode == 2
    assert "queue has no Receipt (" in done.stderr
    assert "queue.py" in done.stderr
