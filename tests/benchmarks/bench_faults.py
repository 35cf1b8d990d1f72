"""The figures after each fault, summed up over its moments: `make bench` prints them."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from faults import FAULTS, KILLED

MOMENTS = {**dict.fromkeys(KILLED, 2), "disk_full": 8}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_counted(name: str, tmp_path: Path) -> None:
    total = Counter[str]()
    for moment in range(MOMENTS.get(name, 5)):
        place = tmp_path / str(moment)
        place.mkdir()
        figures = FAULTS[name](moment, place).check()
        total += Counter(
            {
                "runs": 1,
                "documents": figures.documents,
                "rows": figures.extractions,
                "dead letters": sum(figures.dead_letters.values()),
                "paid twice": figures.paid_twice,
                "of which nobody could know": figures.unknown,
            }
        )
        assert figures.doubles == 0
    print(f"\n{name}: {', '.join(f'{number:,} {what}' for what, number in total.items())}")  # noqa: T201
