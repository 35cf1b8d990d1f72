"""The site builds without a warning, and its reference has every name that is exported."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from docs_extensions import kimi_beam_commands
from sphinx.util.inventory import InventoryFile

import kimi_beam as kb
from kimi_beam import emulator


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``make docs`` builds, elsewhere."""
    into = tmp_path_factory.mktemp("site")
    (line,) = re.findall(r"^\t\$\(BIN\)/python (-m sphinx .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert "-W --keep-going" in line, "warnings have to be errors, and all of them shown"
    command = [sys.executable, *line.replace("docs/_build/html", str(into)).split(), "-d", str(into / ".doctrees")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return into


def test_the_reference_has_every_exported_name(site: Path) -> None:
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    documented = {name for role, names in inventory.data.items() if role.startswith("py:") for name in names}
    exported = {f"kimi_beam.{name}" for name in kb.__all__} | {
        f"kimi_beam.emulator.{name}" for name in emulator.__all__
    }
    assert exported - documented == set()


def test_the_reference_has_the_help_of_every_command(site: Path) -> None:
    page = (site / "reference" / "commands.html").read_text()
    for parser in kimi_beam_commands():
        assert f'id="{parser.prog.replace(" ", "-")}"' in page


def test_a_reader_needs_no_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*src=\"(https?:[^\"]*)\"", page.read_text())
        loaded += re.findall(
            r"<link[^>]*rel=\"(?:stylesheet|preload|icon)\"[^>]*href=\"(https?:[^\"]*)\"", page.read_text()
        )
        assert loaded == [], page
