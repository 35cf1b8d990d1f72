"""Real documents, and how many tokens GPT's vocabulary o200k makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

SETS = ("sroie", "einvoice", "invoice2data", "cuad")


def counter() -> Callable[[str], int]:
    """Counts the tokens of a text. A test is skipped where the library is not installed."""
    bpe_openai = pytest.importorskip("bpe_openai", reason="pip install -e '.[dev]' brings bpe-openai")
    encoding = bpe_openai.get_encoding("o200k_base")
    return lambda text: len(encoding.encode(text))


def records(data: Path, name: str) -> list[dict[str, object]]:
    """The documents of a set, with what people found in them."""
    return [json.loads(line) for line in (data / "documents" / name / f"{name}.jsonl").read_text().splitlines()]


def schemas(data: Path) -> list[str]:
    """Schemas as they are sent: JSON without white space."""
    paths = sorted((data / "schemas-real").glob("*/*.json"))
    return [json.dumps(json.loads(path.read_text())["schema"], separators=(",", ":")) for path in paths]
