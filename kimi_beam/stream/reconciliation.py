"""Compares the deliveries of a stream with its rows and dead letters: which documents are missing, or came out twice.

No files are read here. Deliveries are compared and not ids, because two messages of one key are two documents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

_FIELDS: list[pa.Field[Any]] = [
    pa.field("document_id", pa.string()),
    pa.field("source", pa.string()),
    pa.field("event_time", pa.timestamp("us", "UTC")),
    pa.field("delivery", pa.string()),
    pa.field("read_at", pa.timestamp("us", "UTC")),
]

DeliveryNames: TypeAlias = "pa.ChunkedArray[Any]"
"""The ``delivery`` column of rows or dead letters; null where a row has none."""
DELIVERIES = pa.schema(_FIELDS)
"""The columns that are written down of each delivery; ``read_at`` is when the pipeline read the document."""


@dataclass(frozen=True)
class Reconciliation:
    """What became of the documents of a stream, or of one part of it. The results of all parts can be added up.

    Attributes:
        came_in: How many deliveries came in.
        rows: How many rows there are.
        dead_letters: How many dead letters there are.
        neither: The `DELIVERIES` without a row or a dead letter: they are in flight, or lost.
        twice: The `DELIVERIES` with several rows, or several dead letters.
        both: The `DELIVERIES` with a row and a dead letter. It is no fault: a job that is started anew asks again for
            the documents of its dead letters.
        strangers: How many rows and dead letters have no delivery among those that came in.
    """

    came_in: int
    rows: int
    dead_letters: int
    neither: pa.Table
    twice: pa.Table
    both: pa.Table
    strangers: int

    def __add__(self, other: Reconciliation) -> Reconciliation:
        """The result for both parts of the stream, which must share no delivery."""
        return Reconciliation(
            self.came_in + other.came_in,
            self.rows + other.rows,
            self.dead_letters + other.dead_letters,
            pa.concat_tables([self.neither, other.neither]),
            pa.concat_tables([self.twice, other.twice]),
            pa.concat_tables([self.both, other.both]),
            self.strangers + other.strangers,
        )

    def read_until(self, time: datetime) -> Reconciliation:
        """The same without missing documents that were read after a time, because they may still be in flight."""
        return replace(self, neither=self.neither.filter(pc.field("read_at") <= pa.scalar(time)))

    @property
    def adds_up(self) -> bool:
        """Whether no document is missing, none came out twice, and none came out without having come in."""
        return not (self.neither.num_rows or self.twice.num_rows or self.strangers)


_NONE = DELIVERIES.empty_table()
NOTHING = Reconciliation(0, 0, 0, _NONE, _NONE, _NONE, 0)


def reconcile(came_in: pa.Table, rows: DeliveryNames, dead_letters: DeliveryNames) -> Reconciliation:
    """Compares rows and dead letters with the deliveries that came in.

    Args:
        came_in: A table with the columns `DELIVERIES`. A delivery that is in it several times is one document.
        rows: The delivery of each row.
        dead_letters: The delivery of each dead letter.
    """
    received = came_in
    if pc.count_distinct(came_in["delivery"]).as_py() < came_in.num_rows:
        once = came_in.group_by("delivery", use_threads=False).aggregate(
            [(name, "first") for name in DELIVERIES.names if name != "delivery"]
        )
        once = once.rename_columns([name.removesuffix("_first") for name in once.column_names])
        received = once.select(DELIVERIES.names)
    in_rows, in_letters = _counts(received["delivery"], rows), _counts(received["delivery"], dead_letters)
    outcomes = in_rows + in_letters
    return Reconciliation(
        received.num_rows,
        len(rows),
        len(dead_letters),
        received.filter(outcomes == 0),
        received.filter((in_rows > 1) | (in_letters > 1)),
        received.filter((in_rows > 0) & (in_letters > 0)),
        len(rows) + len(dead_letters) - int(outcomes.sum()),
    )


def _counts(received: DeliveryNames, names: DeliveryNames) -> Any:
    """How often each received delivery is among the names, as a NumPy array."""
    counted: Any = pc.value_counts(names)
    index: Any = pc.index_in(received, value_set=counted.field("values"))
    return counted.field("counts").take(index).fill_null(0).to_numpy()
