"""CONTRIBUTING.md names files, targets and functions that exist, and says how a code is added as it is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def test_every_file_and_directory_that_it_names_is_there() -> None:
    named = set(re.findall(r"`((?:kimi_beam|tests|docs|\.github|\.ci)/[\w./-]*)`", TEXT))
    named |= set(re.findall(r"\]\(((?!https?:)[^)#]+)\)", TEXT))
    assert len(named) > 25
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_every_target_that_it_names_is_in_the_makefile() -> None:
    commands = re.findall(r"\bmake ((?:[a-z][a-z-]*[ `\n])+)", TEXT)
    targets = {target for command in commands for target in command.replace("`", " ").split()}
    makefile = (ROOT / "Makefile").read_text()
    assert {"check", "test-fast", "fix", "test"} <= targets
    assert sorted(target for target in targets if f"\n{target}: " not in makefile) == []


def test_every_function_and_class_that_it_names_in_a_file_is_defined_there() -> None:
    places = {
        "kimi_beam/types/failure.py": ("Code", "Failure"),
        "kimi_beam/types/document.py": ("Document",),
        "kimi_beam/request/checks.py": ("prepare", "prepare_texts", "unsendable"),
        "kimi_beam/transforms/settings.py": ("ExtractSettings",),
        "kimi_beam/transforms/extract.py": ("Extract",),
        "kimi_beam/transforms/make_batches.py": ("MakeBatches",),
        "kimi_beam/input/kinds.py": ("Kind", "KINDS"),
        "kimi_beam/input/readers/content.py": ("Content", "UnreadableError"),
        "kimi_beam/input/read_parts.py": ("_read_by_form",),
        "kimi_beam/input/file_parts.py": ("cut",),
    }
    for path, names in places.items():
        for name in names:
            assert f"`{name}" in TEXT
            assert re.search(rf"^(?:(?:class|def) )?{name}\b", (ROOT / path).read_text(), re.M), (
                f"{name} is not in {path}"
            )
