"""What all tests share: where the real data lies, `--fast`, and a profile that prints its seed and has no deadline."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest
from fast_tests import why_slow
from hypothesis import is_hypothesis_test, settings

settings.register_profile("kimi_beam", deadline=None, print_blob=True)
settings.load_profile("kimi_beam")

ROOT = Path(__file__).parent.parent
_SETTINGS = "_hypothesis_internal_use_settings"
"""Where Hypothesis (6.120 to 6.170) keeps the settings of a law: it has no public way to change them in one place."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--fast`, by which `make test-fast` chooses."""
    about = "only modules without Beam, servers and other processes, and a tenth of the examples of each law"
    parser.addoption("--fast", action="store_true", help=about)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `--fast`, passes over the modules that are not fast before they import anything."""
    if config.getoption("--fast") and collection_path.match("test_*.py") and why_slow(collection_path):
        return True
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--fast`, draws a tenth of the examples of each law of Hypothesis: `make test` draws them all."""
    if not config.getoption("--fast"):
        return
    for law in {item.obj for item in items if isinstance(item, pytest.Function) and is_hypothesis_test(item.obj)}:
        test = getattr(law, "__func__", law)  # a method's own settings are those of its function
        usual: settings = getattr(test, _SETTINGS, None) or settings()
        setattr(test, _SETTINGS, settings(usual, max_examples=max(10, usual.max_examples // 10)))


def pytest_collection_finish() -> None:
    """Makes the tests quicker: puts caches before Beam, if a test module has imported it, and spares the collector."""
    if "apache_beam" in sys.modules:
        import beam_caches

        beam_caches.install()
    gc.collect()
    gc.freeze()  # or each collection looks at all modules and tests again: a fourteenth of the time


@pytest.fixture(scope="session")
def shared_data(request: pytest.FixtureRequest) -> Path:
    """Real documents and schemas with gold labels, which are not part of the project."""
    if request.config.getoption("--fast"):
        pytest.skip("--fast leaves out the real data, which is large")
    return data_at(Path(os.environ.get("KIMI_BEAM_SHARED", ROOT.parent / "shared")) / "data")


def data_at(data: Path) -> Path:
    """The directory of the real data; a test that needs it is skipped without, but where CI is set it fails."""
    if not data.is_dir():
        reason = f"the real data is not at {data}: set KIMI_BEAM_SHARED to the directory that holds data/"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return data
