"""The records of what was reserved and spent, as files beside those of the journal.

They are written only by runs with a budget. What other runs have spent is read off the answers that they have left.
Files are never changed, and `kimi-beam journal gc` does not remove them: money that was spent stays spent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import is_local, listing, make_private, output
from kimi_beam.files.whole_files import make_directory, write_whole
from kimi_beam.journal.files import existing_answers, open_journal, read_at_once, unique_name
from kimi_beam.journal.records import JournalError, decode_unrecorded
from kimi_beam.request.highest_cost import HighestCost
from kimi_beam.service.budget import Budget
from kimi_beam.service.per_process import PerProcess
from kimi_beam.service.prices import Price
from kimi_beam.service.spending import Reservation, Settlement, nanodollars

DIRECTORY = "spending"
"""The directory's name, inside that of the journal."""
_SUFFIX = ".spending.json"
_VERSION = 1


class SpendingFiles:
    """The records of all runs that share a journal. Use it under a lock.

    Args:
        journal: The directory of the journal.
    """

    def __init__(self, journal: str) -> None:
        self._directory: str = FileSystems.join(output(journal), DIRECTORY)
        self._known: set[str] = set()
        make_private(output(journal))
        make_private(self._directory)
        if not is_local(self._directory):
            make_directory(self._directory)

    def write(self, records: Sequence[Reservation | Settlement]) -> None:
        """Writes records to one file, which appears complete or not at all."""
        path: str = FileSystems.join(self._directory, unique_name(_SUFFIX))
        write_whole(path, encode(records))
        self._known.add(path)

    def read_new(self) -> list[Reservation | Settlement]:
        """The records that were not returned before, and that were not written here.

        Raises:
            JournalError: A file is damaged, or of an unknown version.
        """
        found = [file.path for file in listing(self._directory) if file.path.endswith(_SUFFIX)]
        new = [path for path in found if path not in self._known]
        records: list[Reservation | Settlement] = []
        for path, content in zip(new, read_at_once(new), strict=True):
            try:
                records += decode(content)
            except (ValueError, KeyError, TypeError) as e:
                raise JournalError(f"the file of what was spent {path} is damaged: {e}") from None
        self._known.update(new)
        return records


def encode(records: Sequence[Reservation | Settlement]) -> bytes:
    """The content of a file of records, in their order."""
    rows = [
        ("reserved", one.name, one.run, one.shard, list(one.amounts))
        if isinstance(one, Reservation)
        else ("settled", one.name, one.run, one.shard, list(one.costs.items()))
        for one in records
    ]
    return orjson.dumps({"kimi_beam.spending": _VERSION, "records": rows})


def decode(content: bytes) -> Iterator[Reservation | Settlement]:
    """The records of a file.

    Raises:
        ValueError: The content is no JSON, or of another version.
        KeyError: A field is missing.
        TypeError: A field has another type.
    """
    read: Any = orjson.loads(content)
    if read["kimi_beam.spending"] != _VERSION:
        raise ValueError(f"version {read['kimi_beam.spending']!r}, and this kimi_beam reads {_VERSION}")
    for kind, name, run, shard, amounts in read["records"]:
        if kind == "reserved":
            yield Reservation(str(name), str(run), str(shard), tuple(map(int, amounts)))
        else:
            yield Settlement(str(name), str(run), str(shard), {int(index): int(cost) for index, cost in amounts})


def unrecorded(journal: str, price: Price) -> int:
    """What runs without a budget have spent, by the answers that they have left, in billionths of a dollar.

    Args:
        journal: The directory of the journal.
        price: The price of the model.

    Raises:
        JournalError: A file is damaged, or of an unknown version.
    """
    paths = existing_answers(journal)
    seen: set[tuple[bytes, str]] = set()
    total = 0
    for path, content in zip(paths, read_at_once(paths), strict=True):
        try:
            for key, request_id, usage in decode_unrecorded(content):
                # An answer of the queue may have been fetched, and written down, more than once.
                if request_id is None or (key, request_id) not in seen:
                    total += nanodollars(price.cost(usage))
                if request_id is not None:
                    seen.add((key, request_id))
        except JournalError as e:
            raise JournalError(f"the journal's file {path} is {e}") from None
    return total


def in_flight(journal: str, highest: HighestCost) -> list[Reservation]:
    """Reservations for what runs without a budget have in the queue, the same in each process.

    Args:
        journal: The directory of the journal.
        highest: The most that requests may cost.

    Raises:
        JournalError: A file is damaged, or of an unknown version.
    """
    kept = open_journal(journal)
    kept.refresh()
    found: list[Reservation] = []
    for one, is_open in kept.open_submissions():
        if one.sizes:
            amounts = [highest.of_earlier(size) if open_ else 0 for size, open_ in zip(one.sizes, is_open, strict=True)]
            unique = hashlib.blake2b(f"{one.request_id} {one.at}".encode(), digest_size=8).hexdigest()
            found.append(Reservation(f"{one.name}-{unique}", "", "", amounts))
    return found


_budgets = PerProcess[Budget]()


def open_budget(journal: str, max_cost: float, highest: HighestCost, run: str, shares: int) -> Budget:
    """The budget of a run. All steps of a process share it.

    Args:
        journal: The directory of the journal.
        max_cost: The most that all runs with this journal together may spend, in dollars.
        highest: The most that requests may cost.
        run: Identifies the run.
        shares: The number of shares (`Budget`).

    Raises:
        JournalError: A file is damaged, or of an unknown version.
    """

    def made() -> Budget:
        # Rounded down, whereas costs are rounded up.
        most = -nanodollars(-max_cost)
        budget = Budget(most, run, shares, SpendingFiles(journal), unrecorded(journal, highest.price))
        budget.count_in(in_flight(journal, highest))
        return budget

    return _budgets.get(run, made)
