"""`corrected_gold`: makes gold of an output and of what a person has corrected in its review queue."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from kimi_beam.errors import InputError
from kimi_beam.ids import id_text
from kimi_beam.input.gold_records import objects_of
from kimi_beam.output.written_answers import Output, answers_of, written_runs
from kimi_beam.schema import SchemaSource
from kimi_beam.scoring.answer_leaves import answer_leaves
from kimi_beam.scoring.compared_places import places_of
from kimi_beam.scoring.document_scores import ROW

CORRECT = "correct"
"""The key under which a line says what is right."""
_NEW_ITEM = "-"
"""Stands in a pointer for the item behind the last one, as in JSON Patch."""


class CorrectedGold(NamedTuple):
    """What is right for one document, as far as a person has looked."""

    document_id: str
    gold: Any
    """The answer with the corrections in it."""
    reviewed: int
    """How many lines the person has decided."""
    values: int
    """How many values and places without a value the answer has."""

    def to_json(self) -> dict[str, Any]:
        """A line of gold as `evaluate` reads it."""
        return {"id": self.document_id, "gold": self.gold, "reviewed": self.reviewed, "values": self.values}


class _Correction(NamedTuple):
    where: str
    pointer: str
    value: Any


def corrected_gold(
    output: Output, corrections: str | os.PathLike[str], *, schema: SchemaSource | None = None
) -> Iterator[CorrectedGold]:
    """The gold of each document in which a person has decided at least one line of the review queue.

    What nobody has decided stands in the gold as it stands in the row. `CorrectedGold.reviewed` says how much that is.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     results = pipeline | kb.ReadDocuments("in/*.txt") | kb.Extract("receipt.json", service=service)
        ...     _ = results | kb.WriteDataset("out8", "receipt.json", model=service.model)
        >>> decided = '{"id": "in/receipt-1.txt", "pointer": "/total", "correct": 24.85}'
        >>> _ = Path("decided.jsonl").write_text(decided)
        >>> [(one.document_id, one.gold, one.reviewed) for one in kb.corrected_gold("out8", "decided.jsonl")]
        [('in/receipt-1.txt', {'total': 24.85}, 1)]

    Args:
        output: The output, as for `review_queue`.
        corrections: The lines of the queue, those with the key ``correct`` decided: its value is what is right, null
            if nothing is. A line needs ``id``, ``pointer`` and ``correct`` alone. The pointer may end with ``/-`` for
            an item that a list lacks, and an empty one stands for the whole answer.
        schema: The schema of the rows. None: the one that is written in the output.

    Raises:
        InputError: The output or a line cannot be read, or a line names a document or a place that is not there.
        SchemaError: The output's schema cannot be used.
    """
    runs = written_runs(output, schema)
    left = _read(os.fspath(corrections))
    root = places_of(runs[0].schema)
    for row in answers_of(runs):
        decided = left.pop(row.document_id, None) if row.outcome == ROW else None
        if decided is not None:
            values = sum(1 for _ in answer_leaves(row.answer, root))
            gold = row.answer
            for one in decided:
                gold = _with_value(gold, one.pointer.split("/")[1:], one)
            yield CorrectedGold(row.document_id, gold, len(decided), values)
    if left:
        name, (first, *_) = next(iter(left.items()))
        raise InputError(f"{first.where}: the output has no row of {name!r}")


def _read(path: str) -> dict[str, list[_Correction]]:
    """The decided lines by the id of their document."""
    found: defaultdict[str, list[_Correction]] = defaultdict(list)
    places = set[tuple[str, str]]()
    for where, record in objects_of(path, "correction"):
        if CORRECT not in record:
            continue
        document_id, pointer = id_text(record.get("id")), record.get("pointer")
        if document_id is None or not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
            raise InputError(f"{where}: a corrected line needs an 'id' and a 'pointer', as the queue has them")
        if (document_id, pointer) in places and not pointer.endswith(f"/{_NEW_ITEM}"):
            raise InputError(f"{where}: {pointer!r} of {document_id!r} is corrected twice")
        places.add((document_id, pointer))
        found[document_id].append(_Correction(where, pointer, record[CORRECT]))
    if not found:
        raise InputError(f"{path}: no line has the key {CORRECT!r}, which says what is right")
    return found


def _with_value(answer: Any, path: list[str], correction: _Correction) -> Any:
    """The answer with another value at a place, sharing with it all that lies beside that."""
    if not path:
        return correction.value
    name, rest = path[0].replace("~1", "/").replace("~0", "~"), path[1:]
    if isinstance(answer, list):
        if name == _NEW_ITEM and not rest:
            return [*answer, correction.value]
        if name.isascii() and name.isdecimal() and int(name) < len(answer):
            index = int(name)
            return [*answer[:index], _with_value(answer[index], rest, correction), *answer[index + 1 :]]
    elif isinstance(answer, dict) and (name in answer or not rest):
        return {**answer, name: _with_value(answer.get(name), rest, correction)}
    elif answer is None and name == _NEW_ITEM and not rest:
        return [correction.value]
    elif answer is None or isinstance(answer, dict):
        return {**(answer or {}), name: _with_value(None, rest, correction)}
    raise InputError(f"{correction.where}: the row has no place {correction.pointer!r}")
