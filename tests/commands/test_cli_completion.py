"""`kimi-beam completion`: the scripts are of these commands and options, and bash completes by the one that it gets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from running_cli import mistake, run

from kimi_beam.cli import COMMANDS

pytest.importorskip("shtab")
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_all_commands_and_their_options(shell: str, capsys: Capture) -> None:
    code, script, err = run("completion", shell, capsys=capsys)
    assert (code, err) == (0, "")
    for word in (*COMMANDS, "max-cost", "require-grounding", "older-than"):
        assert word in script


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["kimi-beam", "ext"], {"extract"}),
        (["kimi-beam", "extract", "--max-c"], {"--max-cost", "--max-completion-tokens", "--max-concurrency"}),
        (["kimi-beam", "extract", "--pages", "au"], {"auto"}),
        (["kimi-beam", "journal", "l"], {"ls"}),
        (["kimi-beam", "extract", "--schema", "sch"], {"schema.json"}),
    ],
)
def test_bash_completes_what_was_begun(typed: list[str], offered: set[str], tmp_path: Path, capsys: Capture) -> None:
    _, script, _ = run("completion", "bash", capsys=capsys)
    (tmp_path / "script.sh").write_text(script)
    (tmp_path / "schema.json").touch()
    words = " ".join(f"'{word}'" for word in typed)
    program = (
        f"source ./script.sh; COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; "
        "$(complete -p kimi-beam | sed 's/.*-F \\([^ ]*\\).*/\\1/') kimi-beam; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert {line.strip() for line in done.stdout.splitlines()} == offered, done.stderr


def test_what_is_missing_is_said(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "tcsh" in mistake("completion", "tcsh", capsys=capsys)
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert "kimi-beam[completion]" in mistake("completion", "bash", capsys=capsys)
