"""The helps as the site prints them (``docs/_ext``), for tests."""

from __future__ import annotations

import sys

from conftest import ROOT

sys.path.append(str(ROOT / "docs" / "_ext"))
sys.path.append(str(ROOT))

from command_help import help_of, help_of_program, kimi_beam_commands  # type: ignore[import-not-found]

__all__ = ["help_of", "help_of_program", "kimi_beam_commands"]
