"""The faults of single values in an answer that is right otherwise, and the account of those that struck.

They are not among the faults that ``all`` names, because no client can notice them: what they give is valid, and wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple, cast, get_args

LeafFault = Literal["misread_leaf", "dropped_leaf", "invented_leaf", "slipped_leaf"]
LEAF_FAULTS: Final[Mapping[str, str]] = {
    "misread_leaf": "a value of the answer has another digit or letter, or is another one of its enum",
    "dropped_leaf": "a value is null, or left out, where the schema allows that",
    "invented_leaf": "a value, also one that is null, is one that stands nowhere",
    "slipped_leaf": "a value of a list's item is that of the item before or after it",
}
"""Each fault with a description."""
ANY_LEAF: Final = "wrong_leaf"
"""The name for all of them together: its probability is that of a wrong value, whatever is wrong with it."""


class WrongLeaf(NamedTuple):
    """A value that was made wrong."""

    document: str
    """The text that the answer was asked for."""
    pointer: str
    """The JSON Pointer of the value in the answer."""
    fault: LeafFault
    right: Any
    """What the value was."""
    wrong: Any
    """What it is now; None where it was dropped."""


class Strike(NamedTuple):
    """A fault that is to strike a value."""

    faults: tuple[LeafFault, ...]
    """The fault, then those that may take its place where it cannot strike, as a value in no list has no neighbour."""
    seed: int
    """Decides how it strikes."""


@dataclass(frozen=True)
class LeafDraws:
    """Draws the faults of the values of one answer.

    Attributes:
        probability: Of each fault, which together are at most 1.
        seed: The emulator's seed.
        key: The key of the document.
        occurrence: How often the document was asked for before.
    """

    probability: Mapping[str, float]
    seed: int
    key: str
    occurrence: int

    def draw(self, pointer: str) -> Strike | None:
        """Draw for the value at a JSON Pointer; None if no fault strikes it."""
        name = f"{self.seed}\0leaf\0{self.key}\0{self.occurrence}\0{pointer}".encode("utf-8", "surrogatepass")
        digest = blake2b(name, digest_size=16).digest()
        left = int.from_bytes(digest[:8], "big") / 2**64
        possible = [cast(LeafFault, name) for name in get_args(LeafFault) if self.probability.get(name)]
        for fault in possible:
            left -= self.probability[fault]
            if left < 0:
                others = (other for other in possible if other != fault)
                return Strike((fault, *others), int.from_bytes(digest[8:], "big"))
        return None
