"""What scoring costs, beside reading and writing the same values as JSON in the same minute. `make bench` prints it.

Times are of the process's CPU, the best of some rounds.
"""

from __future__ import annotations

import gc
import json
import random
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from kimi_beam.schema import OutputSchema
from kimi_beam.scoring.compared_places import places_of
from kimi_beam.scoring.document_scores import AnswerAndGold, score
from kimi_beam.scoring.tallies import Tally


def test_an_e_invoice_takes_at_most_15_times_what_pythons_json_takes_for_it(shared_data: Path) -> None:
    directory, chance = shared_data / "documents" / "einvoice", random.Random(1)
    golds = [json.loads(line)["gold"] for line in (directory / "einvoice.jsonl").read_bytes().splitlines()]
    root = places_of(OutputSchema(str(directory / "gold.schema.json")))
    answers = [_with_errors(one, chance) for one in golds]
    ours = _seconds(lambda: _scored(root, golds, answers))
    theirs = _seconds(lambda: [json.loads(json.dumps(one)) for one in (*golds, *answers)])
    _say(f"an e-invoice with errors: {ours / len(golds) * 1e3:.3f} ms, {ours / theirs:.1f} times Python's json")
    assert ours <= 15 * theirs


def test_a_list_of_10_000_rows_takes_at_most_40_times_what_pythons_json_takes_for_it() -> None:
    chance = random.Random(2)
    names = ("name", "quantity", "unit_price", "vat_rate", "line_total")
    row = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    root = places_of(OutputSchema({"type": "object", "properties": {"lines": {"type": "array", "items": row}}}))
    gold = [dict(zip(names, (f"item {i}", str(i % 7), str(i % 100), "19", str(i)), strict=True)) for i in range(10_000)]
    answer = deepcopy(gold)
    chance.shuffle(answer)
    for one in answer:
        for name in names:
            if chance.random() < 0.01:
                one[name] = "another"
    ours = _seconds(lambda: _scored(root, [{"lines": gold}], [{"lines": answer}]), rounds=3)
    theirs = _seconds(lambda: [json.loads(json.dumps(one)) for one in (gold, answer)], rounds=3)
    _say(f"10,000 rows with 1 % errors: {ours:.2f} s, {ours / theirs:.0f} times Python's json")
    assert ours <= 40 * theirs


def _with_errors(gold: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    answer = deepcopy(gold)
    answer["total_net"] = "1.23"
    items = answer["line_items"] or []
    chance.shuffle(items)
    for item in items:
        item[chance.choice(list(item))] = "another"
    return answer


def _scored(root: Any, golds: list[Any], answers: list[Any]) -> None:
    tally = Tally()
    for gold, answer in zip(golds, answers, strict=True):
        tally.add(score(AnswerAndGold("a", gold, answer), root))
    assert 0.5 < (tally.evaluation(root).overall.f1 or 0) < 1


def _seconds(run: Callable[[], object], rounds: int = 10) -> float:
    best = float("inf")
    gc.collect()
    for _ in range(rounds):
        began = time.process_time()
        run()
        best = min(best, time.process_time() - began)
    return best


def _say(text: str) -> None:
    print(f"\n  {text}")  # noqa: T201
