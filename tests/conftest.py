"""What all tests share: where the real data lies, and a profile that prints its seed and has no deadline."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("kimi_beam", deadline=None, print_blob=True)
settings.load_profile("kimi_beam")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real documents and schemas with gold labels, which are not part of the project."""
    return data_at(Path(os.environ.get("KIMI_BEAM_SHARED", ROOT.parent / "shared")) / "data")


def data_at(data: Path) -> Path:
    """The directory of the real data; a test that needs it is skipped without, but where CI is set it fails."""
    if not data.is_dir():
        reason = f"the real data is not at {data}: set KIMI_BEAM_SHARED to the directory that holds data/"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return data
