"""What a report's page holds, without a browser: its blocks, decompressed."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

from kimi_beam.output.page.write_report import write_report

_BLOCK = re.compile(rb'<script type="application/octet-stream" data-of="(\w+)">([\w+/=]*)</script>')


def write_page(out: Path, page: Path, **settings: Any) -> Path:
    """Writes the page of a run, and returns its path."""
    with page.open("wb") as f:
        write_report(out, f.write, **settings)
    return page


def page_data(page: Path) -> dict[str, Any]:
    """The figures, documents and texts of a page, the latter two by their positions in the output."""
    found: dict[str, Any] = {"figures": {}, "documents": {}, "texts": {}}
    for name, content in _BLOCK.findall(page.read_bytes()):
        block = json.loads(gzip.decompress(base64.b64decode(content)))
        if name == b"figures":
            found["figures"] = block
        elif name == b"documents":
            found["documents"] |= {one["position"]: one for one in block}
        else:
            found["texts"] |= {position: rest for position, *rest in block}
    return found


def texts_by_id(page: Path) -> dict[str, Any]:
    """``[text, note, pictures]`` of the documents of a page, by id."""
    data = page_data(page)
    return {data["documents"][position]["id"]: rest for position, rest in data["texts"].items()}
