"""The review queue of real runs whose model errs in one value of twenty, and the gold that its corrections become."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from harness import run_extract
from long_invoices import INVOICE, Invoice, answer, invoice
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


class Erring(NamedTuple):
    """A run whose model errs, and the emulator's own account of where."""

    out: Path
    wrong: set[tuple[str, str]]
    """The id and the pointer of each value that is wrong."""


def run_erring(invoices: list[Invoice], faults: str, directory: Path, *, seed: int = 0) -> Erring:
    """A run over invoices whose model answers as the emulator's faults say."""
    with Emulator(answer=answer, faults=faults, seed=seed) as emulator:
        documents = [one.document for one in invoices]
        # Asked again, the emulator would err elsewhere, and the account would be of answers that no row has.
        outcome = run_extract(documents, emulator.base_url, directory, schema=INVOICE, ground=True, repairs=0)
        account = emulator.wrong_leaves()
    assert len(outcome.rows) == len(invoices)
    ids = {one.text.strip(): one.id for one in documents}
    return Erring(directory, {(ids[one.document.strip()], one.pointer) for one in account})


def made_invoices(count: int, *, seed: int = 0) -> list[Invoice]:
    invoices = [invoice(20, seed=seed + number) for number in range(count)]
    return [Invoice(kb.Document(f"in-{n}", one.document.text), one.gold) for n, one in enumerate(invoices)]


@pytest.fixture(scope="module")
def made() -> list[Invoice]:
    return made_invoices(30)


@pytest.fixture(scope="module")
def erring(made: list[Invoice], tmp_path_factory: pytest.TempPathFactory) -> Erring:
    return run_erring(made, f"wrong_leaf={WRONG}", tmp_path_factory.mktemp("review") / "out")


@pytest.fixture(scope="module")
def out(erring: Erring) -> Path:
    return erring.out


@pytest.fixture(scope="module")
def golds(made: list[Invoice], tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [{"id": one.document.id, "gold": one.gold} for one in made]
    return write_gold(tmp_path_factory.mktemp("gold") / "gold.jsonl", records)


def wrong_places(out: Path, golds: Path) -> set[tuple[str, str]]:
    """The id and pointer of each value that differs from a gold."""
    root, documents = each_document(str(out), str(golds), gold_field="gold", id_field="id", schema=None)
    return {(one.document_id, wrong.pointer) for one in documents for wrong in wrong_values(one.gold, one.answer, root)}


def found_in_first_tenth(erring: Erring) -> float:
    """The share of the wrong values that stand in the first tenth of the queue."""
    lines = review_queue(str(erring.out)).lines
    first = {(one.document_id, one.pointer) for one in lines[: len(lines) // 10]}
    assert 0.04 < len(erring.wrong) / len(lines) < 0.06
    return len(first & erring.wrong) / len(erring.wrong)


def test_the_first_tenth_of_the_queue_holds_nine_errors_of_ten(erring: Erring) -> None:
    assert found_in_first_tenth(erring) >= 0.9


@pytest.mark.parametrize("seed", range(3))
def test_values_of_neighbouring_rows_stand_in_the_first_tenth_too(seed: int, tmp_path: Path) -> None:
    invoices = made_invoices(30, seed=100 * (1 + seed))
    assert found_in_first_tenth(run_erring(invoices, f"slipped_leaf={WRONG}", tmp_path / "out", seed=seed)) >= 0.9


def test_the_score_finds_the_errors_that_the_emulator_has_made(erring: Erring, golds: Path) -> None:
    assert wrong_places(erring.out, golds) == erring.wrong


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


def test_what_was_corrected_comes_back_as_the_gold(made: list[Invoice], erring: Erring, tmp_path: Path) -> None:
    out, wrong = erring
    known = {one.document.id: one.gold for one in made}
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
    made: list[Invoice], erring: Erring, tmp_path: Path
) -> None:
    out, wrong = erring
    known = write_gold(tmp_path / "known.jsonl", [{"id": one.document.id, "gold": one.gold} for one in made[::2]])
    found = calibrate(str(out), str(known))
    assert (found.documents, found.values) == (15, 15 * 83)
    assert found.held_out_error is not None
    assert found.held_out_error <= 0.03
    others = {one.document.id for one in made[1::2]}
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
