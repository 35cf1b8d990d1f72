"""The prefix cache: counts how many tokens at the beginning of a prompt an instance has seen before, in whole blocks.

A token is four bytes, as in `tokens`. A block is named by the hash of its tokens and of all blocks before it, so that
equal names mean equal prefixes [documented: exact token prefix, inputs shorter than one block do not count; the size of
a block is assumed]. An instance forgets the least recently used blocks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from hashlib import blake2b
from typing import Final

from kimi_beam.emulator.tokens import BYTES_PER_TOKEN

BLOCK: Final = 64  # tokens
_BLOCKS: Final = 50_000  # of an instance: 3.2 million tokens
_INSTANCES: Final = 64


def blocks(pieces: Iterable[tuple[str, bytes]]) -> tuple[tuple[int, ...], int]:
    """Cut a prompt into blocks.

    Args:
        pieces: The prompt in order, each piece with its kind (a role, say), which costs no tokens, and its bytes. Each
            piece begins a new token.

    Returns:
        The names of all whole blocks, and the number of tokens.
    """
    found: list[int] = []
    block, room, count = blake2b(digest_size=8), BLOCK * BYTES_PER_TOKEN, 0
    for mark, data in pieces:
        block.update(f"\0{mark}\0".encode())
        count += -(-len(data) // BYTES_PER_TOKEN)
        view = memoryview(data + bytes(-len(data) % BYTES_PER_TOKEN))
        while view:
            taken, view = view[:room], view[room:]
            block.update(taken)
            room -= len(taken)
            if not room:
                name = block.digest()
                found.append(int.from_bytes(name, "big"))
                block, room = blake2b(name, digest_size=8), BLOCK * BYTES_PER_TOKEN
    return tuple(found), count


class Prefixes:
    """The caches of all instances.

    Args:
        instances: How many instances there are for requests without a session.
    """

    def __init__(self, instances: int) -> None:
        self._instances = max(1, instances)
        self._turn = 0
        self._caches: OrderedDict[Hashable, OrderedDict[int, None]] = OrderedDict()

    def instance(self, owner: tuple[str, str], session: str | None) -> Hashable:
        """Return the instance a request goes to: its session's own [documented: best effort], else the next in turn."""
        if session:
            return (*owner, session)
        self._turn += 1
        return (*owner, self._turn % self._instances)

    def cached(self, instance: Hashable, names: Iterable[int], count: int) -> int:
        """Return how many tokens of a prompt an instance has cached, and cache the prompt.

        Args:
            instance: The instance that answers.
            names: The names of the prompt's blocks.
            count: The number of the prompt's tokens. The last one is never cached, because the answer begins there.
        """
        cache = self._caches.setdefault(instance, OrderedDict())
        self._caches.move_to_end(instance)
        if len(self._caches) > _INSTANCES:
            self._caches.popitem(last=False)
        hits, seen = 0, True
        for name in names:
            seen = seen and name in cache
            hits += seen
            cache[name] = None
            cache.move_to_end(name)
        while len(cache) > _BLOCKS:
            cache.popitem(last=False)
        return min(hits, max(count - 1, 0) // BLOCK) * BLOCK
