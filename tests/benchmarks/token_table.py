"""``python -m tests.benchmarks.token_table DATA``: fits the tokens of a character by its class, and prints the table.

DATA is a directory with the four sets of documents and the schemas. Each set counts the same, and within it each
document by how far off it is as a share. What is printed stands in ``kimi_beam/request/token_counts.py``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bpe_openai
import numpy as np

from kimi_beam.request.token_counts import ASCII_CLASSES, class_counts

SETS = ("sroie", "einvoice", "invoice2data", "cuad")
FITTED = (*ASCII_CLASSES, "letters with marks")
"""The classes that the documents hold enough of."""


def main(data: Path) -> None:
    """Fits and prints."""
    encoding = bpe_openai.get_encoding("o200k_base")
    texts = {name: _texts(data / "documents" / name / f"{name}.jsonl") for name in SETS}
    paths = sorted((data / "schemas-real").glob("*/*.json"))
    texts["schemas"] = [json.dumps(json.loads(path.read_text())["schema"], separators=(",", ":")) for path in paths]
    counted = {name: np.array([len(encoding.encode(text)) for text in each]) for name, each in texts.items()}
    rows = {
        name: np.array([[class_counts(text)[one] for one in FITTED] for text in each], float)
        for name, each in texts.items()
    }
    table = _fitted(list(texts), rows, counted)
    for name, tokens in zip(FITTED, table, strict=True):
        sys.stdout.write(f"{name:<20}{tokens:.3f}\n")
    for name in texts:
        off = (rows[name] @ table).sum() / counted[name].sum() - 1
        others = _fitted([other for other in texts if other != name], rows, counted)
        without = (rows[name] @ others).sum() / counted[name].sum() - 1
        sys.stdout.write(f"{name:<20}{off:+.1%}, fitted without this set {without:+.1%}\n")


def _texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


def _fitted(names: list[str], rows: dict[str, np.ndarray], counted: dict[str, np.ndarray]) -> np.ndarray:
    """Least squares without negative numbers: a class that would have one has none."""
    left = np.vstack([rows[name] / counted[name][:, None] / len(counted[name]) ** 0.5 for name in names])
    right = np.hstack([np.ones(len(counted[name])) / len(counted[name]) ** 0.5 for name in names])
    used = np.ones(left.shape[1], bool)
    while True:
        table = np.zeros(left.shape[1])
        table[used] = np.linalg.lstsq(left[:, used], right, rcond=None)[0]
        if (table >= 0).all():
            return table
        used &= table > 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
