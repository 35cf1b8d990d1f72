"""``python tests/lowest_versions.py`` prints the lowest version of each library that setup.py allows, as pip takes it.

`make test-lowest` installs them, so that a lower bound is a version that has been seen to work.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import requires

_EXTRAS = ("aws", "completion", "documents", "emulator", "heic", "otel", "terminal")
"""The extras whose libraries kimi_beam itself imports; those of `azure` and `gcp` are Beam's to choose."""
_REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)(?:\[[^]]*])?(?P<versions>[^;]*)(?:;\s*extra\s*==\s*['\"](?P<extra>\w+)['\"])?"
)
_LOWER_BOUND = re.compile(r">=\s*([\w.]+)")


def lowest_versions(requirements: list[str]) -> list[str]:
    """The libraries that requirements name, each at its lower bound.

    Args:
        requirements: What a package says of its needs in its metadata, such as ``lxml>=5.3; extra == "documents"``.

    Returns:
        Such as ``lxml==5.3``, sorted, each once.

    Raises:
        ValueError: A requirement that is to be tested has no lower bound.
    """
    lowest = set()
    for requirement in requirements:
        found = _REQUIREMENT.match(requirement)
        if found is None or (found["extra"] is not None and found["extra"] not in _EXTRAS):
            continue
        bound = _LOWER_BOUND.search(found["versions"])
        if bound is None:
            raise ValueError(f"setup.py: {found['name']} has no lower bound: write {found['name']}>=VERSION")
        lowest.add(f"{found['name']}=={bound[1]}")
    return sorted(lowest)


if __name__ == "__main__":
    sys.stdout.write("\n".join(lowest_versions(requires("kimi-beam") or [])) + "\n")
