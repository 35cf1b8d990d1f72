"""What the emulator runs on is an extra: workers and users who ask Kimi have no web server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from running_cli import environment

from kimi_beam.emulator import Emulator

WITHOUT = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("starlette", "uvicorn"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""
COMMAND = WITHOUT + "from kimi_beam.cli import program; sys.argv[0] = 'kimi-beam'; sys.exit(program())"


def without(code: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs Python where starlette and uvicorn cannot be imported."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["extract", "emulate"])
def test_where_it_is_missing_one_line_says_what_to_install_and_nothing_is_sent(command: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("TOTAL: 1.50")
    extract = ("a.txt", "--schema", ROOT / "schemas" / "receipt.json", "--output", "out", "--emulator")
    done = without(COMMAND, command, *(extract if command == "extract" else ()), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "pip install 'kimi-beam[emulator]'" in line
    assert "starlette and uvicorn" in line
    assert not list(tmp_path.glob("out/*"))


def test_in_a_program_it_is_an_import_error_that_says_what_to_install(tmp_path: Path) -> None:
    for code in ("from kimi_beam.emulator import Emulator", "import kimi_beam.emulator as e; e.serve()"):
        done = without(WITHOUT + code, cwd=tmp_path)
        assert "NotInstalledError: the emulator needs starlette and uvicorn: pip install" in done.stderr


def test_a_run_against_a_service_needs_no_web_server(tmp_path: Path) -> None:
    """As a worker has it."""
    (tmp_path / "a.txt").write_text("COMPANY: One Ltd\nTOTAL: 1.50")
    schema = ROOT / "schemas" / "receipt.json"
    with Emulator() as emulator:
        given = ("--base-url", emulator.base_url, "--token-from", f"file:{tmp_path / 'token'}")
        (tmp_path / "token").write_text("t")
        done = without(COMMAND, "extract", "a.txt", "--schema", schema, "--output", "out", *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["extractions"] == 1


def test_only_the_extra_asks_for_a_web_server(tmp_path: Path) -> None:
    """What Dataflow installs on its workers is what ``setup.py`` names without an extra."""
    command = [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # type: ignore[arg-type]
    (requires,) = tmp_path.glob("*.egg-info/requires.txt")
    needs, *extras = requires.read_text().split("\n[")
    assert "apache-beam" in needs
    assert "starlette" not in needs
    assert "uvicorn" not in needs
    asking = {extra.partition("]")[0] for extra in extras if "starlette" in extra and "uvicorn" in extra}
    assert asking == {"emulator", "dev"}


def test_an_emulator_whose_answers_come_from_elsewhere_does_not_load_the_rules(tmp_path: Path) -> None:
    code = """
import json, sys, urllib.request
from kimi_beam.emulator import Emulator

with Emulator(answer=lambda messages, schema: "{}") as emulator:
    account = "0" * 32
    url = f"{emulator.base_url}/accounts/{account}/ai/run/@cf/moonshotai/kimi-k2.6"
    body = json.dumps({"messages": [{"role": "user", "content": "x"}]}).encode()
    request = urllib.request.Request(url, body, {"Authorization": "Bearer t", "Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    assert b'"{}"' in opener.open(request).read()
sys.exit("kimi_beam.emulator.rules" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
