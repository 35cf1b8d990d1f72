"""Real contracts, read in parts by the lawyers' evidence: what is lost against reading them whole."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from kimi_beam.request.splitting import Limits, split
from kimi_beam.results.merging import PartAnswer, merge
from kimi_beam.schema import OutputSchema
from kimi_beam.types.document import Document

_SPACES = re.compile(r"\s+")


def test_contracts_in_parts_of_four_thousand_tokens_lose_less_than_half_a_point(shared_data: Path) -> None:
    directory = shared_data / "documents" / "cuad"
    schema = json.loads((directory / "gold.schema.json").read_text())
    rules = OutputSchema(schema).merge_rules
    whole, in_parts, parts = Score(), Score(), 0
    for line in (directory / "cuad.jsonl").read_text().splitlines():
        record = json.loads(line)
        gold = record["gold"]
        whole.add(read(record["text"], record), gold)
        answers = []
        for part in split(Document(record["id"], record["text"]), Limits(4_000, 1_000_000)):
            assert part.part is not None
            where = part.part.start, part.part.end
            answers.append(PartAnswer(*where, read(part.text, record), part.text, part.part.context))
        parts += len(answers)
        in_parts.add(merge(answers, rules).value, gold)
    assert parts > 300
    assert whole.f1 > 0.9
    assert whole.f1 - in_parts.f1 < 0.005, (whole.f1, in_parts.f1)


def read(text: str, record: dict[str, Any]) -> dict[str, Any]:
    """What a reader who knows the lawyers' evidence finds in a text: a value whose evidence stands in it."""
    plain = _SPACES.sub(" ", text)
    found: dict[str, Any] = {}
    for name, value in record["gold"].items():
        spans = record["evidence"].get(name.removesuffix("_iso"), [])
        stands = any(_SPACES.sub(" ", piece).strip() in plain for span in spans for piece in span.split("<omitted>"))
        if isinstance(value, bool):
            found[name] = value and stands
        else:
            found[name] = value if stands else None
    return found


class Score:
    """Counts the values of an answer that are those of the gold."""

    def __init__(self) -> None:
        self._right = self._answered = self._wanted = 0

    def add(self, answer: dict[str, Any], gold: dict[str, Any]) -> None:
        answered, wanted = set(_values(answer)), set(_values(gold))
        self._right += len(answered & wanted)
        self._answered += len(answered)
        self._wanted += len(wanted)

    @property
    def f1(self) -> float:
        return 2 * self._right / (self._answered + self._wanted)


def _values(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """The values that say something: null and false are what a reader says who finds nothing."""
    return [
        (name, json.dumps(one))
        for name, value in answer.items()
        for one in (value if isinstance(value, list) else [value])
        if one not in (None, False)
    ]
