"""A law over two paths proves that it took both.

A fast path is held against the careful one by drawing many examples. If no example takes the fast path, the law
compares the careful path with itself and holds for whatever the fast one does. So such a law notes the path of each
example, and fails if one of the paths was seldom taken.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


@contextmanager
def both_paths(*names: str, at_least: int = 20) -> Iterator[Counter[str]]:
    """Fails where one of the named paths was taken less often than `at_least` times, as counted by the body."""
    taken: Counter[str] = Counter()
    yield taken
    for name in names:
        assert taken[name] >= at_least, f"the path {name!r} was taken {taken[name]} times: the law cannot see it"


def crossed(value: T) -> T:
    """A value as a worker gets it from another: pickled once, so that nothing in it is the same object any more."""
    copy: T = pickle.loads(pickle.dumps(value))
    return copy


def perhaps_crossed(values: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Each value as it is, or as it is after it was pickled."""
    return st.builds(lambda value, was: crossed(value) if was else value, values, st.booleans())


def counting(function: Callable[..., Any], taken: Counter[str], name: str, refused: str = "") -> Callable[..., Any]:
    """The function, which notes its name each time that it returns, and another one each time that it raises."""

    def counted(*arguments: Any, **named: Any) -> Any:
        try:
            result = function(*arguments, **named)
        except Exception:
            taken[refused] += 1
            raise
        taken[name] += 1
        return result

    return counted
