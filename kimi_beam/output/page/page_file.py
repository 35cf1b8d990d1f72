"""Writes the page: one file without any request, in which nothing of a document can run.

All that comes from documents stands in it as compressed text in base64, in elements that no browser executes. The
page's own script is the only one that its policy lets run (by its hash), and shows that text as text alone.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from kimi_beam.schema import jsontext

_SCRIPTS = ("elements.js", "charts.js", "figures.js", "texts.js", "records.js", "browser.js", "start.js")
"""The files of the script, in the order in which they stand in the page."""
_BLOCK_BYTES = 512 << 10
"""So much JSON is compressed together."""
Write = Callable[[bytes], Any]


class PageFile:
    """Writes a page from its beginning to its end.

    Args:
        write: Writes bytes.

    Attributes:
        size: How many bytes were written.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self.size = 0
        self._put(_frame()[0])

    @property
    def bytes_to_come(self) -> int:
        """How many bytes the end takes."""
        return len(_frame()[1])

    def put_figures(self, figures: Mapping[str, Any]) -> None:
        """Writes the figures, which a reader sees first."""
        self._put_block("figures", jsontext.dumps_any(figures))

    def put_documents(self, documents: Iterator[Mapping[str, Any]], *, bytes_at_most: int) -> int:
        """Writes documents as long as the page does not grow past a bound.

        Args:
            documents: As the page takes them.
            bytes_at_most: The bound of the page as a whole.

        Returns:
            How many were written.
        """
        return self._put_blocks("documents", map(_encoded, documents), bytes_at_most)

    def put_texts(self, texts: Iterator[list[Any]], *, bytes_at_most: int) -> int:
        """Writes texts as long as the page does not grow past a bound: ``[position, text, note, pictures]``.

        Returns:
            How many were written.
        """
        return self._put_blocks("texts", map(_encoded, texts), bytes_at_most)

    def close(self) -> None:
        """Writes the end."""
        self._put(_frame()[1])

    def _put_blocks(self, name: str, values: Iterator[bytes], bytes_at_most: int) -> int:
        block: list[bytes] = []
        size = written = 0
        for value in values:
            if block and size + len(value) > _BLOCK_BYTES:
                self._put_block(name, b"[" + b",".join(block) + b"]")
                written, block, size = written + len(block), [], 0
            # The worst case is what does not compress at all.
            if self.size + (size + len(value)) * 4 // 3 > bytes_at_most:
                break
            block.append(value)
            size += len(value)
        if block:
            self._put_block(name, b"[" + b",".join(block) + b"]")
        return written + len(block)

    def _put_block(self, name: str, content: bytes) -> None:
        encoded = base64.b64encode(gzip.compress(content, 9, mtime=0))
        self._put(b'<script type="application/octet-stream" data-of="%b">%b</script>\n' % (name.encode(), encoded))

    def _put(self, content: bytes) -> None:
        self._write(content)
        self.size += len(content)


def _encoded(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # half a surrogate pair, which `dumps_any` escapes
        return jsontext.dumps_any(value)


@cache
def _frame() -> tuple[bytes, bytes]:
    """What stands in the page before its data, and behind it."""
    style, script = _asset("report.css"), "\n".join(map(_asset, _SCRIPTS))
    script = f'"use strict";\n(() => {{\n{script}\n}})();\n'
    parts = {"style": style, "script": script, "script_hash": _hash(script), "style_hash": _hash(style)}
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts.get(found[1], found[0]), _asset("report.html"))
    before, _, after = page.partition("{{data}}")
    return before.encode(), after.encode()


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return files("kimi_beam.output.page").joinpath(f"assets/{name}").read_text(encoding="utf-8")
