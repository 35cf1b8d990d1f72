"""Rows of a user's class end to end: the class's values, the same after a resumed run, and answers that it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import strict_models
from harness import Outcome, run_extract, service
from scripted import Asked, Scripted, answered

import kimi_beam as kb
from kimi_beam.schema import own_validators

ANSWERS = [
    '{"name": " acme ", "tags": ["b", "a"], "unknown": 1}',
    '```json\n{"name": "b", "gone": "N/A", "currency": null}\n```',
    '{"name": 5}',
]


def test_a_resumed_run_pays_nothing_and_gives_the_same_rows(tmp_path: Path) -> None:
    def answer(asked: Asked) -> bytes:
        text = asked.json["messages"][-1]["content"]
        return answered(next(found for n, found in enumerate(ANSWERS) if f"document {n}" in json.dumps(text)))

    documents = [kb.Document(f"d{n}", f"document {n}") for n in range(3)]
    with Scripted(answer) as server:

        def run(output: str) -> Outcome:
            where, journal = service(server.url, api="run"), str(tmp_path / "journal")
            return run_extract(
                documents, "", tmp_path / output, where=where, schema=strict_models.Cleaned, journal=journal
            )

        outcomes = [run("first"), run("second")]
        assert len(server.asked) == 3 + 1, "the journal holds what the model wrote, and the one that was asked again"
    rows: list[dict[str, dict[str, Any]]] = [{row["_document_id"]: row for row in one.rows} for one in outcomes]
    assert [sorted(found) for found in rows] == [["d0", "d1"]] * 2
    for found in rows:
        first, second = ({**found[one], "_provenance": None} for one in ("d0", "d1"))
        assert first == {
            "_document_id": "d0",
            "name": "ACME",
            "currency": "EUR",
            "note": None,
            "gone": None,
            "tags": ["a", "b"],
            "lines": [],
            "hidden": "h",
            "total": 0.0,
            "shown": "plain",
            "_additional": '{"/unknown":1}',
            "_metadata": None,
            "_provenance": None,
        }
        assert (second["name"], second["gone"], second["currency"]) == ("B", None, "EUR")
    for one in outcomes:
        (letter,) = one.letters
        assert (letter["document_id"], letter["code"], letter["raw"]) == ("d2", "schema_violation", ANSWERS[2])


def test_a_class_that_workers_cannot_import_is_found_before_anything_is_paid_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = kb.OutputSchema(strict_models.Cleaned)
    monkeypatch.setattr(own_validators, "_CLASSES", {})
    monkeypatch.setattr(sys, "path", [one for one in sys.path if Path(one).name != "tests"])
    monkeypatch.delitem(sys.modules, "strict_models")
    own_validators._values.cache_clear()
    with Scripted(lambda _: answered()) as server:
        with pytest.raises(Exception, match="must be importable on the workers"):
            run_extract([kb.Document("d", "t")], "", tmp_path, where=service(server.url, api="run"), schema=schema)
        assert server.asked == []
