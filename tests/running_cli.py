"""Runs the command line, in this process or as a program of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from harness import ACCOUNT

from kimi_beam import cli

SCHEMA = Path(__file__).parent.parent / "schemas" / "receipt.json"


PROGRAM = [sys.executable, "-m", "kimi_beam.cli"]


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        code = cli.main([str(a) for a in arguments])
    except SystemExit as e:  # argparse ends by itself
        code = int(e.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def mistake(*arguments: object, capsys: pytest.CaptureFixture[str]) -> str:
    """Runs what must be refused as the user's mistake; returns what stderr says."""
    code, out, err = run(*arguments, capsys=capsys)
    assert code == 2, err
    assert out == ""
    assert len(err.splitlines()) <= 3, err
    assert "Traceback" not in err
    return err


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "CLOUDFLARE_ACCOUNT_ID": ACCOUNT, **more}
