"""The checks of imports can fail: each names the forbidden imports that are added to a copy of the tree."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Report:
    """What one of the checks says of a tree."""

    passed: bool
    text: str


def _contracts(tree: Path) -> Report:
    """Runs import-linter over a tree, in a process of its own: in this one, `kimi_beam` is the real package."""
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    environment = {"PYTHONPATH": str(tree), "COLUMNS": "1000"}  # it would break the lines of long names
    ran = subprocess.run([sys.executable, "-c", command], cwd=tree, env=environment, capture_output=True, text=True)
    return Report(ran.returncode == 0, ran.stdout + ran.stderr)


def _banned(tree: Path) -> Report:
    command = ["ruff", "check", "--no-cache", "--select", "TID251", "--output-format", "concise", "."]
    ran = subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]], cwd=tree, capture_output=True)
    return Report(ran.returncode == 0, ran.stdout.decode() + ran.stderr.decode())


def _copy(tree: Path, added: Mapping[str, str] | None = None) -> Path:
    """A copy of the package with lines added at the ends of its files, by the names of their modules."""
    shutil.copytree(ROOT / "kimi_beam", tree / "kimi_beam", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    for module, line in (added or {}).items():
        with (tree / _path(module)).open("a") as file:
            file.write(f"\n\n{line}\n")
    return tree


def _path(module: str) -> Path:
    path = Path(*module.split("."))
    return path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")


FORBIDDEN = {
    # Upwards, in each form in which an import can be written.
    (
        "kimi_beam.schema.cells",
        "kimi_beam.service.credentials",
    ): "from kimi_beam.service.credentials import A",
    ("kimi_beam.files.paths", "kimi_beam.transforms.extract"): "from kimi_beam.transforms import extract",
    ("kimi_beam.wire.sse", "kimi_beam.results.rows"): "import kimi_beam.results.rows as rows",
    ("kimi_beam.request.checks", "kimi_beam.run"): "def _late():\n    from kimi_beam import run",
    ("kimi_beam.ids", "kimi_beam.files.paths"): "def _late():\n    import kimi_beam.files.paths as paths",
    ("kimi_beam.errors", "kimi_beam.schema.source"): "if TYPE_CHECKING:\n    from kimi_beam.schema import source",
    ("kimi_beam.types.document", "kimi_beam.types.reply"): "from kimi_beam.types.reply import Reply",
    ("kimi_beam.schema.cells", "kimi_beam.schema.output_schema"): "from kimi_beam.schema import output_schema",
    ("kimi_beam.wire.usage", "kimi_beam.wire.protocol"): "from kimi_beam.wire import protocol",
    ("kimi_beam.commands.console", "kimi_beam.commands.schema"): "from .schema import run",
    (
        "kimi_beam.input.readers.pdf.page_view",
        "kimi_beam.input.readers.pdf.layout.page_text",
    ): "from kimi_beam.input.readers.pdf.layout import page_text",
    # Between siblings, of which neither stands above the other.
    ("kimi_beam.queue.jobs", "kimi_beam.synchronous.runs"): "from kimi_beam.synchronous import runs",
    ("kimi_beam.synchronous.runs", "kimi_beam.output.staging"): "from kimi_beam.output import staging",
    ("kimi_beam.journal.recall", "kimi_beam.stream.reconciliation"): "from kimi_beam.stream import reconciliation",
    ("kimi_beam.network.pacing", "kimi_beam.report.summary"): "from kimi_beam.report import summary",
    ("kimi_beam.input.lines", "kimi_beam.request.prompt"): "from kimi_beam.request import prompt",
    ("kimi_beam.types.failure", "kimi_beam.ids"): "import kimi_beam.ids",
    ("kimi_beam.schema.unnamed_keys", "kimi_beam.schema.arrow"): "from kimi_beam.schema import arrow",
    ("kimi_beam.wire.matching", "kimi_beam.wire.completions"): "from .completions import read",
    # The emulator, which shares no code with what it stands in for.
    ("kimi_beam.emulator.tokens", "kimi_beam.network.pacing"): "from kimi_beam.network import pacing",
    ("kimi_beam.emulator.limits", "kimi_beam.errors"): "from kimi_beam.errors import ConfigError",
    ("kimi_beam.emulator.chat", "kimi_beam"): "import kimi_beam as kb",
    ("kimi_beam.emulator.rules.page", "kimi_beam.types"): "def _late():\n    import kimi_beam.types",
    ("kimi_beam.emulator.rules.document_kinds", "kimi_beam.emulator.work"): "from kimi_beam.emulator import work",
    ("kimi_beam.service.models", "kimi_beam.emulator.catalogue"): "from kimi_beam.emulator import catalogue",
    ("kimi_beam.commands.schema", "kimi_beam.emulator"): "from kimi_beam import emulator",
    ("kimi_beam.results.rows", "kimi_beam.emulator.rules.model"): "from kimi_beam.emulator.rules import model",
    ("kimi_beam.emulator.server", "kimi_beam.emulator.rules.model"): "from .rules import model",
    # The package as users see it.
    ("kimi_beam.transforms.dispatch", "kimi_beam"): "from kimi_beam import Extract",
    # Beam outside its adapters.
    ("kimi_beam.queue.state_machine", "apache_beam"): "import apache_beam as beam",
    ("kimi_beam.schema.arrow", "apache_beam"): "def _late():\n    from apache_beam.utils import timestamp",
    # The network, and the libraries of a server.
    ("kimi_beam.service.gateway", "urllib3"): "import urllib3",
    ("kimi_beam.schema.unnamed_keys", "httpx"): "def _late():\n    import httpx as h",
    ("kimi_beam.service.models", "http"): "import http.client as client",
    ("kimi_beam.schema.source", "http"): "from http import client",
    ("kimi_beam.wire.images", "socket"): "from socket import create_connection",
    ("kimi_beam.results.settle_replies", "aiohttp"): "from aiohttp import ClientSession",
    ("kimi_beam.output.parquet", "starlette"): "from starlette.requests import Request",
    ("kimi_beam.report.outcomes", "uvicorn"): "import uvicorn",
}
"""A line, by the module that it is added to and the module that it imports."""

BANNED = {
    ("kimi_beam.service.gateway", "urllib.request"): "import urllib.request",
    ("kimi_beam.schema.source", "urllib.request"): "from urllib import request",
    ("kimi_beam.schema.spelling", "urllib.request"): "def _late():\n    from urllib.request import urlopen as fetch",
    ("kimi_beam.wire.sse", "asyncio.open_connection"): "import asyncio\n\n_open = asyncio.open_connection",
    ("kimi_beam.queue.jobs", "asyncio.open_connection"): "def _late():\n    from asyncio import open_connection",
    ("kimi_beam.files.lease", "asyncio.open_unix_connection"): "from asyncio import open_unix_connection",
    ("kimi_beam.report.summary", "asyncio.start_server"): "import asyncio as a\n\n_start = a.start_server",
    ("kimi_beam.ids", "asyncio.start_unix_server"): "import asyncio\n\n_start = asyncio.start_unix_server",
    ("kimi_beam.input.finding", "apache_beam.io.filesystems"): "from apache_beam.io import filesystems",
    ("kimi_beam.output.staging", "apache_beam.io.filesystems"): "from apache_beam.io.filesystems import FileSystems",
}
"""As above, for what ruff sees: parts of packages of which other parts are used."""


def _by_module(lines: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """All lines that are added to a module."""
    text: dict[str, str] = {}
    for (module, _), line in lines.items():
        text[module] = f"{text[module]}\n{line}" if module in text else line
    return text


@pytest.fixture(scope="module")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """What import-linter says of a copy with all forbidden imports: it names each, so one copy does for them all."""
    return _contracts(_copy(tmp_path_factory.mktemp("forbidden"), _by_module(FORBIDDEN)))


@pytest.fixture(scope="module")
def banned(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """What ruff says of a copy with all that is banned."""
    return _banned(_copy(tmp_path_factory.mktemp("banned"), _by_module(BANNED)))


def test_a_copy_of_the_tree_as_it_is_passes_both(tmp_path: Path) -> None:
    tree = _copy(tmp_path)
    for report in (_contracts(tree), _banned(tree)):
        assert report.passed, report.text


@pytest.mark.parametrize(("module", "imported"), FORBIDDEN, ids=" to ".join)
def test_a_forbidden_import_is_named_by_the_contracts(module: str, imported: str, contracts: Report) -> None:
    assert not contracts.passed
    assert f"{module} -> {imported} (l." in contracts.text, contracts.text


@pytest.mark.parametrize(("module", "named"), BANNED, ids=" to ".join)
def test_a_banned_name_is_named_by_ruff(module: str, named: str, banned: Report) -> None:
    assert not banned.passed
    lines = [line for line in banned.text.splitlines() if line.startswith(f"{_path(module)}:")]
    assert any("TID251" in line and f"`{named}" in line for line in lines), banned.text


def test_one_forbidden_import_alone_fails_the_check(tmp_path: Path) -> None:
    line = "def _late():\n    from kimi_beam.service import gateway"
    report = _contracts(_copy(tmp_path, {"kimi_beam.schema.cells": line}))
    assert not report.passed
    assert "1 broken" in report.text


def test_a_new_package_needs_its_place_in_the_order(tmp_path: Path) -> None:
    tree = _copy(tmp_path)
    (tree / "kimi_beam" / "evaluation").mkdir()
    (tree / "kimi_beam" / "evaluation" / "__init__.py").touch()
    assert not _contracts(tree).passed
