"""`calibrate`: fits the review queue's probabilities to gold, and keeps them in a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from kimi_beam.errors import InputError
from kimi_beam.files.paths import open_input
from kimi_beam.files.store_errors import in_one_line
from kimi_beam.input.gold_records import read_gold
from kimi_beam.output.review_queue import judged_lines
from kimi_beam.output.written_answers import Output
from kimi_beam.schema import SchemaSource
from kimi_beam.scoring.calibration import Calibration, JudgedLeaf, fit, held_out_error


class Calibrated(NamedTuple):
    """A calibration, and how good it is."""

    calibration: Calibration
    documents: int
    """How many documents it was fitted by."""
    values: int
    """How many values and places without a value they have."""
    held_out_error: float | None
    """The expected calibration error on documents that were not fitted; None for fewer than five documents."""


def calibrate(
    output: Output,
    gold: str,
    *,
    gold_field: str = "gold",
    id_field: str = "id",
    schema: SchemaSource | None = None,
) -> Calibrated:
    """Fits how likely values are wrong by their signals to gold.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     results = pipeline | kb.ReadDocuments("in/*.txt") | kb.Extract("receipt.json", service=service)
        ...     _ = results | kb.WriteDataset("out9", "receipt.json", model=service.model)
        >>> _ = Path("known.jsonl").write_text('{"id": "in/receipt-1.txt", "gold": {"total": 24.80}}')
        >>> found = kb.calibrate("out9", "known.jsonl")
        >>> found.documents, found.values
        (1, 1)
        >>> queue = kb.review_queue("out9", calibration=found.calibration)

    Args:
        output: The output, as for `review_queue`.
        gold: The gold, as for `evaluate`. Documents without a row tell nothing.
        gold_field: The key of what is right.
        id_field: The key of the id.
        schema: The schema of the rows. None: the one that is written in the output.

    Raises:
        InputError: The output or the gold cannot be read, or no document of the gold has a row.
    """
    records = read_gold(gold, gold_field=gold_field, id_field=id_field)
    golds = {name: one.gold for name, one in records.items()}
    leaves: Sequence[JudgedLeaf] = list(judged_lines(output, golds, schema))
    if not leaves:
        raise InputError(f"no document of {gold} has a row in the output: there is nothing to calibrate by")
    documents = len({one.document_id for one in leaves})
    return Calibrated(fit(leaves), documents, len(leaves), held_out_error(leaves))


def encode_calibration(calibration: Calibration) -> bytes:
    """A calibration as the JSON of its file."""
    return msgspec.json.encode(calibration) + b"\n"


def read_calibration(path: str | os.PathLike[str]) -> Calibration:
    """Reads what `encode_calibration` made.

    Raises:
        InputError: There is no such file, or it is no calibration.
    """
    name = os.fspath(path)
    try:
        with open_input(name) as f:
            found = msgspec.json.decode(f.read(), type=Calibration)
    except msgspec.MsgspecError as e:
        raise InputError(f"{name} is no calibration, as evaluate --calibrate writes one: {e}") from None
    except Exception as e:  # whatever a filesystem raises
        raise InputError(f"cannot read {name}: {in_one_line(name, e)}") from None
    if not found.risks or len(found.risks) != len(found.probabilities):
        raise InputError(f"{name} is no calibration: it needs as many risks as probabilities, at least one")
    if any(list(one) != sorted(one) for one in (found.risks, found.probabilities)):
        raise InputError(f"{name} is no calibration: risks and probabilities have to ascend")
    return found
