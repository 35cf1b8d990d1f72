"""What the threads of a worker process share: one value for each key, made when it is first asked for.

Clients, their event loop, rates, quotas and journals are shared by all steps and shards that a process works on. None
of them survives a fork: a child has a copy of the dictionary, but neither the threads nor the right to the sockets. So
each key belongs to the process that made its value, and a child that asks for the same key makes its own. The parent's
values are left alone in the child: closing them there would close connections that the parent is still using. A lock
that another thread held at the moment of the fork would never be released in the child, so the child gets a new one.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class PerProcess(Generic[Value]):
    """A registry with one value for each key in each process. Safe to use from several threads.

    Attributes:
        lock: Held by each method. A caller holds it to make several calls one atomic step.

    Example:
        >>> greetings = PerProcess[str]()
        >>> greetings.get("en", lambda: "hello")
        'hello'
        >>> greetings.get("en", lambda: "good morning")
        'hello'
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._values: dict[tuple[int, Hashable], Value] = {}
        _all.add(self)

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key. It is made once, while the lock is held; what `make` raises is raised here."""
        name = (os.getpid(), key)
        with self.lock:
            if name not in self._values:
                self._values[name] = make()
            return self._values[name]

    def forget(self, key: Hashable) -> None:
        """Drops the value of a key: the next `get` makes a new one."""
        with self.lock:
            self._values.pop((os.getpid(), key), None)

    def forget_all(self) -> None:
        """Drops the values of all keys that this process has made."""
        with self.lock:
            for key in self._keys():
                self.forget(key)

    def forget_value(self, value: Value) -> None:
        """Drops a value, whatever its key is."""
        with self.lock:
            for key in self._keys():
                if self._values[os.getpid(), key] is value:
                    self.forget(key)

    def values(self) -> list[Value]:
        """The values that this process has made and not dropped."""
        with self.lock:
            return [self._values[os.getpid(), key] for key in self._keys()]

    def _keys(self) -> list[Hashable]:
        return [key for pid, key in self._values if pid == os.getpid()]


_all: weakref.WeakSet[PerProcess[Any]] = weakref.WeakSet()


def _renew_locks() -> None:
    for registry in _all:
        registry.lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # Windows has neither
    os.register_at_fork(after_in_child=_renew_locks)
