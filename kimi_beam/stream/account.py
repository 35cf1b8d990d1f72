"""What a stream's files say of its documents: which have come in, which have left, and which have not, or twice.

Pure. Deliveries are compared, not ids: two messages of one key are two documents.
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

Names: TypeAlias = "pa.ChunkedArray[Any]"
"""Names of deliveries."""
CAME_IN = pa.schema(_FIELDS)
"""What is written down of each document that comes in; ``read_at`` is when that was."""


@dataclass(frozen=True)
class Account:
    """The documents of a stream, or of a part of it. The parts add up.

    Attributes:
        came_in: Documents that came in.
        rows: Rows that are there.
        dead_letters: Dead letters that are there.
        neither: `CAME_IN` of those that have not left: in flight, or lost.
        twice: `CAME_IN` of those that have left by several rows, or by several dead letters.
        both: `CAME_IN` of those that are a row beside an earlier dead letter: started anew, a job asks again.
        strangers: Rows and dead letters of which nobody wrote down that they came in.
    """

    came_in: int
    rows: int
    dead_letters: int
    neither: pa.Table
    twice: pa.Table
    both: pa.Table
    strangers: int

    def __add__(self, other: Account) -> Account:
        """The sum, of parts that share no delivery."""
        return Account(
            self.came_in + other.came_in,
            self.rows + other.rows,
            self.dead_letters + other.dead_letters,
            pa.concat_tables([self.neither, other.neither]),
            pa.concat_tables([self.twice, other.twice]),
            pa.concat_tables([self.both, other.both]),
            self.strangers + other.strangers,
        )

    def read_until(self, at: datetime) -> Account:
        """The same, those apart that were read later and have not left: they may well be in flight."""
        return replace(self, neither=self.neither.filter(pc.field("read_at") <= pa.scalar(at)))

    @property
    def adds_up(self) -> bool:
        """Whether each document has left once, as far as is known."""
        return not (self.neither.num_rows or self.twice.num_rows or self.strangers)


_NONE = CAME_IN.empty_table()
NOTHING = Account(0, 0, 0, _NONE, _NONE, _NONE, 0)


def account(came_in: pa.Table, rows: Names, dead_letters: Names) -> Account:
    """Holds what has left against what came in.

    Args:
        came_in: Of `CAME_IN`. One delivery may stand there several times: it is one document.
        rows: The delivery of each row, null where it has none.
        dead_letters: The same of each dead letter.
    """
    known = came_in
    if pc.count_distinct(came_in["delivery"]).as_py() < came_in.num_rows:
        once = came_in.group_by("delivery", use_threads=False).aggregate(
            [(name, "first") for name in CAME_IN.names if name != "delivery"]
        )
        known = once.rename_columns([name.removesuffix("_first") for name in once.column_names]).select(CAME_IN.names)
    in_rows, in_letters = _times(known["delivery"], rows), _times(known["delivery"], dead_letters)
    left = in_rows + in_letters
    return Account(
        known.num_rows,
        len(rows),
        len(dead_letters),
        known.filter(left == 0),
        known.filter((in_rows > 1) | (in_letters > 1)),
        known.filter((in_rows > 0) & (in_letters > 0)),
        len(rows) + len(dead_letters) - int(left.sum()),
    )


def _times(known: Names, names: Names) -> Any:
    """How often each delivery is named, as a NumPy array."""
    counted: Any = pc.value_counts(names)
    index: Any = pc.index_in(known, value_set=counted.field("values"))
    return counted.field("counts").take(index).fill_null(0).to_numpy()
