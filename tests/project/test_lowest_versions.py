"""What `make test-lowest` installs: every library that kimi_beam imports, at the lower bound that setup.py names."""

from __future__ import annotations

import re
from importlib.metadata import requires

import pytest
from lowest_versions import lowest_versions


def test_every_library_of_the_package_and_its_extras_is_tested_at_its_lower_bound() -> None:
    lowest = lowest_versions(requires("kimi-beam") or [])
    names = {line.partition("==")[0].lower() for line in lowest}
    assert {"apache-beam", "pypdfium2", "lxml", "pillow", "python-oxmsg", "selectolax", "pillow-heif"} <= names
    assert len(names) == len(lowest) >= 24
    assert all(re.fullmatch(r"[\w.-]+==[\d.]+", line) for line in lowest)


def test_a_lower_bound_is_found_beside_an_upper_one_and_other_extras_are_left_out() -> None:
    found = lowest_versions(["httpx<1,>=0.28", 'lxml>=5.3; extra == "documents"', 'ruff>=0.9; extra == "dev"'])
    assert found == ["httpx==0.28", "lxml==5.3"]


def test_a_library_without_a_lower_bound_is_named() -> None:
    with pytest.raises(ValueError, match="lxml has no lower bound"):
        lowest_versions(["lxml"])
