"""Workers that are killed, services that are away, disks that are full, two runs at once: what is counted afterwards.

Each fault at the moments that are worth a test's time; `make bench` has more of them, and prints the figures.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from faults import FAULTS, Fault

MOMENTS = {
    # From a submit on.
    "service_away": (2,),
    "service_says_500": (2,),
    "edge_says_502": (2,),
    "disk_full": (3,),
    "two_runs_that_both_hold_the_lease": (5,),
}


@pytest.mark.parametrize(
    ("fault", "moment"),
    [
        pytest.param(f, moment, id=f"{name}-{moment}")
        for name, f in FAULTS.items()
        for moment in MOMENTS.get(name, (1,))
    ],
)
def test_no_document_is_lost_or_doubled_and_what_is_known_to_be_paid_for_is_not_paid_for_again(
    fault: Fault, moment: int, tmp_path: Path
) -> None:
    try:
        fault(moment, tmp_path).check()
    except PermissionError as e:
        pytest.skip(f"only root may make a small disk: {e}")
