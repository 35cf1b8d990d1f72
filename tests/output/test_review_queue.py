"""The review queue of real runs whose model errs in one value of twenty, and the gold that its corrections become."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from harness import run_extract
from long_invoices import INVOICE, Invoice, invoice, read, shown_text
from written_runs import write_gold

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.output.calibrate import calibrate
from kimi_beam.output.corrected_gold import corrected_gold
from kimi_beam.output.evaluate import each_document
from kimi_beam.output.review_queue import review_queue
from kimi_beam.scoring.answer_differences import wrong_values
from kimi_beam.scoring.calibration import JudgedLeaf, calibration_error, fit

WRONG = 0.05


def misread(value: Any, rng: random.Random, *, often: float) -> Any:
    """The value with a share of its leaves changed in one digit or letter, as a careless reader's would be."""
    if isinstance(value, dict):
        return {key: misread(one, rng, often=often) for key, one in value.items()}
    if isinstance(value, list):
        return [misread(one, rng, often=often) for one in value]
    if value is None or rng.random() >= often:
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    digits = [index for index, letter in enumerate(text) if letter in "0123456789"]
    at = rng.choice(digits or range(len(text)))
    other = rng.choice([one for one in ("123456789" if digits else "qxz") if one != text[at]])
    changed = text[:at] + other + text[at + 1 :]
    return changed if isinstance(value, str) else json.loads(changed)


@pytest.fixture(scope="module")
def made() -> list[Invoice]:
    invoices = [invoice(20, seed=seed) for seed in range(30)]
    return [Invoice(kb.Document(f"in-{n}", one.document.text), one.gold) for n, one in enumerate(invoices)]


@pytest.fixture(scope="module")
def out(made: list[Invoice], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run whose model misreads."""

    def answer(messages: Any, _: Any) -> str:
        text = shown_text(messages)
        return json.dumps(misread(read(text), random.Random(text), often=WRONG))

    directory = tmp_path_factory.mktemp("review") / "out"
    with Emulator(answer=answer) as emulator:
        documents = [one.document for one in made]
        outcome = run_extract(documents, emulator.base_url, directory, schema=INVOICE, ground=True)
    assert len(outcome.rows) == len(made)
    return directory


@pytest.fixture(scope="module")
def golds(made: list[Invoice], tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [{"id": one.document.id, "gold": one.gold} for one in made]
    return write_gold(tmp_path_factory.mktemp("gold") / "gold.jsonl", records)


def wrong_places(out: Path, golds: Path) -> set[tuple[str, str]]:
    """The id and pointer of each wrong value that an answer has."""
    root, documents = each_document(str(out), str(golds), gold_field="gold", id_field="id", schema=None)
    return {
        (one.document_id, wrong.pointer)
        for one in documents
        for wrong in wrong_values(one.gold, one.answer, root)
        if wrong.answer is not None
    }


def test_the_first_tenth_of_the_queue_holds_nine_errors_of_ten(out: Path, golds: Path) -> None:
    wrong = wrong_places(out, golds)
    queue = review_queue(str(out))
    values = len(queue.lines)
    assert 0.04 < len(wrong) / values < 0.06
    first = {(one.document_id, one.pointer) for one in queue.lines[: values // 10]}
    assert len(first & wrong) >= 0.9 * len(wrong)


def test_the_first_lines_are_those_of_the_whole_queue(out: Path) -> None:
    whole, first = review_queue(str(out)), review_queue(str(out), top=50)
    assert first.lines == whole.lines[:50]
    assert first.left_off == len(whole.lines) - 50
    assert first.expected_errors == whole.expected_errors
    expected = [one.expected_errors for one in whole.lines]
    assert expected == sorted(expected, reverse=True)


def test_a_line_names_the_place_in_the_text_of_what_a_reviewer_has_to_compare(made: list[Invoice], out: Path) -> None:
    texts = {one.document.id: one.document.text for one in made}
    golds = {one.document.id: one.gold for one in made}
    compared = 0
    for line in review_queue(str(out)).lines:
        if line.field == "/lines/*/name" and line.place and line.place["match"] == "exact":
            place = line.place
            assert texts[line.document_id][place["start"] : place["end"]] == line.value
            assert line.value in {one["name"] for one in golds[line.document_id]["lines"]}
            compared += 1
    assert compared > 500


def test_what_was_corrected_comes_back_as_the_gold(made: list[Invoice], out: Path, golds: Path, tmp_path: Path) -> None:
    known = {one.document.id: one.gold for one in made}
    wrong = wrong_places(out, golds)
    corrections = []
    for line in review_queue(str(out)).lines:
        if (line.document_id, line.pointer) in wrong:
            right: Any = known[line.document_id]
            for token in line.pointer.split("/")[1:]:
                right = right[int(token)] if isinstance(right, list) else right[token]
            corrections.append({**line.to_json(), "correct": right})
        else:
            corrections.append(line.to_json())
    path = write_gold(tmp_path / "queue.jsonl", corrections)
    found = {one.document_id: one for one in corrected_gold(str(out), path)}
    assert set(found) == {document_id for document_id, _ in wrong}
    assert all(one.gold == known[name] for name, one in found.items())
    assert sum(one.reviewed for one in found.values()) == len(wrong)
    again = write_gold(tmp_path / "gold.jsonl", [one.to_json() for one in found.values()])
    assert wrong_places(out, again) == wrong


def test_fitted_probabilities_are_those_of_documents_that_were_not_fitted(
    made: list[Invoice], out: Path, golds: Path, tmp_path: Path
) -> None:
    known = write_gold(tmp_path / "known.jsonl", [{"id": one.document.id, "gold": one.gold} for one in made[::2]])
    found = calibrate(str(out), str(known))
    assert (found.documents, found.values) == (15, 15 * 83)
    assert found.held_out_error is not None
    assert found.held_out_error <= 0.03
    wrong, others = wrong_places(out, golds), {one.document.id for one in made[1::2]}
    queue = review_queue(str(out), calibration=found.calibration)
    lines = [one for one in queue.lines if one.document_id in others and one.pointer]
    assert calibration_error((one.expected_errors, (one.document_id, one.pointer) in wrong) for one in lines) <= 0.03
    shares = [(one.expected_errors, (one.document_id, one.pointer) in wrong) for one in review_queue(str(out)).lines]
    assert calibration_error(shares) > found.held_out_error
    expected = [one.expected_errors for one in queue.lines]
    assert expected == sorted(expected, reverse=True)


def test_a_fit_never_turns_the_order_around_and_is_never_certain() -> None:
    rng = random.Random(3)
    for _ in range(50):
        risks = [round(rng.random(), 1) for _ in range(rng.randrange(1, 40))]
        found = fit([JudgedLeaf("a", one, rng.random() < 0.3) for one in risks] + [JudgedLeaf("a", 0.5, True)])
        by_risk = [found.probability(step / 20) for step in range(21)]
        assert by_risk == sorted(by_risk)
        assert len(found.risks) == len(found.probabilities)
        assert by_risk[0] > 0
