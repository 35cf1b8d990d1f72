"""The code blocks of the README and of the pages in ``docs/``, and what the comment above a block says of it.

Each block runs as a test, in the order of its page. A block that cannot run says why, in an HTML comment right above
it, which no reader of the page sees:

    <!-- not run: REASON -->   not run. The options of our own commands in it are checked all the same.
    <!-- output -->            what the command before it printed. ``…`` stands for anything.
    <!-- row of: GLOB -->      JSON of a row of these Parquet files, found by its ``_document_id``. ``…`` ends a text.
    <!-- line of: GLOB -->     JSON of a line of these files, found by its ``document_id``.
    <!-- file: NAME -->        written to that file, for the blocks below it.
    <!-- exit code: N -->      the last command of the block ends with this exit code.
    <!-- hidden: CODE -->      Python that runs where it stands: it makes files for the blocks below, or asserts what
                               those above did. It needs no block.

`page_runner` says what lies in the directory of a page and where the emulator stands in for the service.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts),
]

_COMMENT = r"^[ ]*<!--(?P<comment>.*?)-->[ ]*$"
_FENCE = r"^(?P<indent>[ ]*)(?P<fence>```+)(?P<language>[^\n`]*)\n(?P<text>.*?)^[ ]*(?P=fence)[ ]*$"
_PIECE = re.compile(f"{_COMMENT}|{_FENCE}", re.DOTALL | re.MULTILINE)
_INSTRUCTION = re.compile(r"(not run|output|row of|line of|file|exit code|hidden)(?::\s*(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: The file that it is in.
        line: Its first line there, counted from 1.
        language: What stands behind the fence; "" if nothing does.
        text: Its content.
        instructions: What the comments above it say: the kind of each and its argument.
    """

    page: Path
    line: int
    language: str
    text: str
    instructions: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        """Where it is, as an editor opens it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def says(self, kind: str) -> str | None:
        """The argument of this kind of instruction; None if no comment above the block gives one."""
        return dict(self.instructions).get(kind)


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in its order; directives of the site (``{toctree}`` and the like) are none."""
    return list(_blocks(page, page.read_text(encoding="utf-8")))


def _blocks(page: Path, text: str) -> Iterator[Block]:
    above: list[tuple[str, str]] = []
    for piece in _PIECE.finditer(text):
        if (comment := piece["comment"]) is not None:
            if known := _INSTRUCTION.fullmatch(comment.strip()):
                argument = textwrap.dedent(known[2] or "").strip()
                if known[1] == "hidden":
                    yield Block(page, text.count("\n", 0, piece.start()) + 1, "hidden", argument)
                else:
                    above.append((known[1], argument))
            continue
        language = piece["language"].strip()
        if not language.startswith("{"):
            content = re.sub(f"^{piece['indent']}", "", piece["text"], flags=re.MULTILINE)
            yield Block(page, text.count("\n", 0, piece.start()) + 1, language, content, tuple(above))
        above = []


def prose(page: Path) -> str:
    """A page without its blocks and comments."""
    return _PIECE.sub("", page.read_text(encoding="utf-8"))
