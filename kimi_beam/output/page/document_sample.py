"""`DocumentSample`: the documents that a page shows of a run with more than it can hold, some of each kind."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

_SHARE_OF_KINDS = 2
"""One document of so many is drawn for its kind, if there are enough; the others are drawn from all."""
_FEWEST = 5
"""So many documents of a kind are drawn at least, if there are so many."""
_MAX_KINDS = 1_000


class DocumentSample:
    """Draws documents, the same ones whenever it is given the same documents.

    Args:
        most: How many documents are drawn at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._all: list[tuple[int, int]] = []
        self._of_kind: dict[str, list[tuple[int, int]]] = {}
        self._counts: Counter[str] = Counter()
        self.documents = 0

    def add(self, document_id: str, kinds: Iterable[str]) -> None:
        """Adds the next document.

        Args:
            document_id: Its id.
            kinds: What is special about it, such as the code of its dead letter, or a field that is null.
        """
        position = self.documents
        self.documents += 1
        if not self._most:
            return
        name = f"{position} {document_id}".encode("utf-8", "surrogatepass")
        entry = -int.from_bytes(blake2b(name, digest_size=8).digest(), "big"), position
        _keep(self._all, entry, self._most)
        for kind in kinds:
            if kind in self._of_kind or len(self._of_kind) < _MAX_KINDS:
                self._counts[kind] += 1
                _keep(self._of_kind.setdefault(kind, []), entry, max(_FEWEST, self._most // 20))

    def drawn(self) -> dict[int, int]:
        """The positions of the documents that were drawn, in the order of importance, each with its rank.

        Documents that were drawn for their kind come first, one of each kind in turn, up to half of all.
        """
        chosen: dict[int, int] = {}
        if self.documents > self._most:
            queues = [sorted(heap, reverse=True) for heap in self._of_kind.values()]
            for turn in range(max(map(len, queues), default=0)):
                for queue in queues:
                    if turn < len(queue) and len(chosen) < max(1, self._most // _SHARE_OF_KINDS):
                        chosen.setdefault(queue[turn][1], len(chosen))
        for _, position in sorted(self._all, reverse=True):
            if len(chosen) < self._most:
                chosen.setdefault(position, len(chosen))
        return chosen

    def to_json(self, positions: Iterable[int]) -> dict[str, Any]:
        """What was drawn as a JSON object: how many documents, of how many, and how many there are of each kind.

        Args:
            positions: The positions of the documents that are shown.
        """
        return {"documents": len(list(positions)), "of": self.documents, "kinds": dict(self._counts)}


def _keep(heap: list[tuple[int, int]], entry: tuple[int, int], most: int) -> None:
    """Adds an entry to a heap of so many of the greatest entries."""
    if len(heap) < most:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)
