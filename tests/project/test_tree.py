"""The tree is what a newcomer reads first: few rooms at the top, names that stand once, modules of one idea."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "kimi_beam"
MODULES = [path for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py")]


def test_few_files_and_packages_stand_at_the_top() -> None:
    files = [path for path in PACKAGE.iterdir() if path.is_file()]
    packages = [path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert len(files) <= 9, sorted(path.name for path in files)
    assert len(packages) <= 21, sorted(path.name for path in packages)


def test_no_two_modules_have_one_name() -> None:
    twice = [name for name, count in Counter(path.name for path in MODULES).items() if count > 1]
    assert not twice, twice


def test_no_module_has_grown_past_its_one_idea() -> None:
    long = {str(path.relative_to(PACKAGE)): lines for path in MODULES if (lines := _lines(path)) > 400}
    assert not long, long


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())
