"""What the project says of itself stands in one place each."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_version_is_that_of_the_installed_package_and_beam_is_not_imported_for_it() -> None:
    code = (
        "import sys, importlib.metadata as m, kimi_beam as k; assert 'apache_beam' not in sys.modules;"
        "print(k.__version__, m.version('kimi-beam'))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here, installed = ran.stdout.split()
    assert here == installed, "make (or pip install -e .) again: the version was changed since"


def test_the_version_is_written_once() -> None:
    files = [ROOT / "setup.py", ROOT / "pyproject.toml", *(ROOT / "kimi_beam").rglob("*.py")]
    version = re.compile(r"^\s*(__)?version(__)?\s*=\s*[\"']", re.M)
    assert [path.relative_to(ROOT).as_posix() for path in files if version.search(path.read_text())] == [
        "kimi_beam/__init__.py"
    ]


def test_every_target_that_is_for_people_is_in_the_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.M)
    assert phony
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make (\S+) +\S", shown, re.M)) == set(phony[1].split())


def test_the_workflow_runs_what_ci_run_runs() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "- run: .ci/run\n" in workflow
    targets = set(re.findall(r"make ([a-z-]+)", workflow + (ROOT / ".ci" / "run").read_text()))
    makefile = (ROOT / "Makefile").read_text()
    assert {target for target in targets if f"\n{target}: " not in makefile} == set()
