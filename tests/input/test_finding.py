"""Which files an input finds: each directory once, behind links too, and nothing that cannot be read without a word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_beam.files.local_listing import escaped, fixed_and_glob
from kimi_beam.input import finding
from kimi_beam.input.file_parts import Part
from kimi_beam.input.finding import find_inputs
from kimi_beam.input.read_parts import read_part


def found(directory: Path, pattern: str = "") -> list[str]:
    paths = [file.path for file in find_inputs([f"{directory}/{pattern}".rstrip("/")])]
    return [path.removeprefix(f"{directory}/") for path in paths]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.txt", "x/b.txt", "x/y/c.txt", "x/y/d.md", "z/e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("", ["a.txt", "x/b.txt", "x/y/c.txt", "x/y/d.md", "z/e.txt"]),
        ("**", ["a.txt", "x/b.txt", "x/y/c.txt", "x/y/d.md", "z/e.txt"]),
        ("**/*.txt", ["a.txt", "x/b.txt", "x/y/c.txt", "z/e.txt"]),
        ("**.txt", ["a.txt", "x/b.txt", "x/y/c.txt", "z/e.txt"]),
        ("x/**/*.txt", ["x/b.txt", "x/y/c.txt"]),
        ("**/y/**/*.txt", ["x/y/c.txt"]),
        ("x/**", ["x/b.txt", "x/y/c.txt", "x/y/d.md"]),
        ("*/*.txt", ["x/b.txt", "z/e.txt"]),
        ("*", ["a.txt"]),
        ("?/b.*", ["x/b.txt"]),
        ("[xz]/?.txt", ["x/b.txt", "z/e.txt"]),
        ("x", ["x/b.txt", "x/y/c.txt", "x/y/d.md"]),
        ("x/b.txt", ["x/b.txt"]),
        ("x/nothing", []),
    ],
)
def test_what_a_pattern_finds(tree: Path, pattern: str, names: list[str]) -> None:
    assert found(tree, pattern) == names


def test_links_to_directories_are_followed_each_directory_once(tree: Path) -> None:
    (tree / "x" / "loop").symlink_to(tree)
    (tree / "x" / "again").symlink_to(tree / "z")
    (tree / "to y").symlink_to(tree / "x" / "y")
    outside = tree.parent / f"{tree.name} outside"
    outside.mkdir()
    (outside / "f.txt").write_text("f")
    (outside / "back").symlink_to(tree)
    (tree / "one").symlink_to(outside)
    (tree / "two").symlink_to(outside)
    assert found(tree) == ["a.txt", "one/f.txt", "x/b.txt", "x/y/c.txt", "x/y/d.md", "z/e.txt"]
    assert found(tree, "to y/*.md") == ["to y/d.md"], "a link that is named is followed"
    assert found(tree, "t*/*") == ["to y/c.txt", "to y/d.md", "two/f.txt"]


def test_what_cannot_be_read_is_found(tree: Path) -> None:
    os.mkfifo(tree / "pipe.txt")
    (tree / "nowhere.txt").symlink_to("nothing")
    (tree / "itself.txt").symlink_to("itself.txt")
    assert found(tree, "*") == ["a.txt", "itself.txt", "nowhere.txt", "pipe.txt"]
    assert [file.is_special for file in find_inputs([f"{tree}/*"])] == [False, False, False, True]


def test_a_directory_that_may_not_be_looked_into_is_found(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def locked(path: str) -> object:  # whoever runs the tests may be allowed everything
        if path.endswith("/y"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert found(tree) == ["a.txt", "x/b.txt", "x/y", "z/e.txt"], "its files are missing without a word"
    (document,) = read_part(Part(f"{tree}/x/y"))
    assert document.failure is not None
    assert document.failure.message == f"cannot read {tree}/x/y: the directory may not be looked into"


def test_only_directories_that_can_match_are_looked_through(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned: list[str] = []
    scan = os.scandir

    def seen(path: str) -> object:
        scanned.append(path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", seen)
    assert found(tree, "x/*.txt") == ["x/b.txt"]
    assert scanned == [f"{tree}/x"]


NAMES = st.text(st.sampled_from("ab[]*?! #%"), min_size=1, max_size=6)


@given(NAMES, NAMES)
def test_an_escaped_directory_is_that_directory(directory: str, name: str) -> None:
    pattern = f"/in/{escaped(directory)}/*{escaped(name)}"
    assert fixed_and_glob(pattern) == (f"/in/{directory}", f"*{escaped(name)}")
    assert fixed_and_glob(f"/in/{escaped(directory)}") == (f"/in/{directory}", "")


@pytest.mark.parametrize("name", ["in [1]", "50% of #1 * ?", 'it\'s "in"', "line\nfeed", "🧾"])
def test_a_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name / "below").mkdir(parents=True)
    (tmp_path / name / "below" / "a.txt").write_text("x")
    (tmp_path / name / ".hidden.txt").write_text("x")
    assert found(tmp_path / name) == ["below/a.txt"]
    assert found(tmp_path) == [f"{name}/below/a.txt"]


@pytest.mark.parametrize(
    ("path", "hidden"),
    [("a.txt", False), ("../a.txt", False), (".a.txt", True), ("d/_b/c", True), ("./a", False), ("a_b/c.d", False)],
)
def test_names_that_begin_with_a_dot_or_underscore_are_hidden(path: str, hidden: bool) -> None:
    assert finding.is_hidden_name(path) is hidden
