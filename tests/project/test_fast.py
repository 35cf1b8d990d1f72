"""`make test-fast` chooses by imports: it needs no list, and loads neither Beam nor a server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fast_tests import why_slow

TESTS = Path(__file__).parents[1]


def test_collecting_the_fast_tests_imports_neither_beam_nor_a_server() -> None:
    code = (
        "import pytest, sys; code = pytest.main(['--fast', '--collect-only', '--quiet', '--quiet']);"
        "slow = {'apache_beam', 'uvicorn', 'starlette', 'boto3'};"
        "print(sorted(slow & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=TESTS.parent, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
    assert ran.stderr.splitlines()[-1] == "[]"
    assert "tests/queue/test_state_machine.py" in ran.stdout
    assert "tests/end_to_end/" not in ran.stdout.replace("tests/end_to_end/test_shared_data.py", "")


def test_a_law_draws_a_tenth_of_its_examples(tmp_path: Path) -> None:
    law = "@settings(max_examples=500)\n@given(st.integers())\ndef test_law(_): print('drawn')\n"
    (tmp_path / "test_law.py").write_text(f"from hypothesis import given, settings, strategies as st\n{law}")
    shutil.copy(TESTS / "conftest.py", tmp_path)
    drawn = []
    for option in ([], ["--fast"]):
        command = [sys.executable, "-m", "pytest", "--quiet", "-s", f"--rootdir={tmp_path}", *option, str(tmp_path)]
        ran = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(TESTS)}, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stdout
        drawn.append(ran.stdout.count("drawn"))
    assert drawn == [500, 50]


@pytest.mark.parametrize("module", ["queue/test_state_machine", "queue/test_state_layout", "request/test_packing"])
def test_a_pure_module_is_fast(module: str) -> None:
    assert why_slow(TESTS / f"{module}.py") is None


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("import apache_beam as beam", "apache_beam"),
        ("def test_late():\n    from apache_beam.io import filesystem", "apache_beam.io"),
        ("from harness import receipts", "apache_beam"),
        ("from kimi_beam.transforms import extract", "apache_beam"),
        ("import kimi_beam as kb\nEXTRACT = kb.Extract", "apache_beam"),
        ("from kimi_beam import ReadDocuments", "apache_beam"),
        ("import kimi_beam.emulator as emulator\nserve = emulator.Emulator", "uvicorn"),
        ("import subprocess", "subprocess"),
        ("from patience import until", None),
        ("from kimi_beam.service.credentials import Credentials", None),
        ("import kimi_beam as kb\nDOCUMENT = kb.Document('a', 'text')", None),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import apache_beam", None),
    ],
)
def test_what_makes_a_test_module_slow(lines: str, reason: str | None, tmp_path: Path) -> None:
    module = tmp_path / "test_any.py"
    module.write_text(lines)
    why = why_slow(module)
    assert (why is None) if reason is None else (why is not None and why[-1].startswith(reason)), why
