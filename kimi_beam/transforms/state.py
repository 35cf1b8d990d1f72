"""The keyed state of `Dispatch`, declared for Beam. Its names and coders are part of every running job."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.coders import BytesCoder, StrUtf8Coder, TupleCoder
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec

from kimi_beam.queue.state_layout import HELD_CELLS, QUEUE_CELLS, KeyedState

F = TypeVar("F", bound=Callable[..., Any])

_PAIR = TupleCoder((StrUtf8Coder(), BytesCoder()))

INBOX = BagStateSpec("waiting", BytesCoder())
_JOBS = ReadModifyWriteStateSpec("jobs", BytesCoder())
_LAYOUT = ReadModifyWriteStateSpec("layout", BytesCoder())
_QUEUE = tuple(BagStateSpec(f"queue_{number}", BytesCoder()) for number in range(QUEUE_CELLS))
_HELD = (BagStateSpec("held", _PAIR), *(BagStateSpec(f"held_{number}", _PAIR) for number in range(1, HELD_CELLS)))
_SPECS = {spec.name: spec for spec in (_JOBS, _LAYOUT, INBOX, *_QUEUE, *_HELD)}


def with_state(method: F) -> F:
    """Decorates a timer's method so that it gets all state of the key as one `KeyedState`, its argument ``state``.

    Beam passes each bag as an argument of its own, so the decorated method has an argument for each of them.
    """
    own = inspect.signature(method)
    others = [parameter for name, parameter in own.parameters.items() if name != "state"]
    bags = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=beam.DoFn.StateParam(spec))
        for name, spec in _SPECS.items()
    ]

    @functools.wraps(method)
    def with_all_bags(self: Any, **arguments: Any) -> Any:
        cells = {name: arguments.pop(name) for name in _SPECS}
        state = KeyedState(
            cells["jobs"],
            cells["layout"],
            cells["waiting"],
            [cells[spec.name] for spec in _QUEUE],
            [cells[spec.name] for spec in _HELD],
        )
        return method(self, state=state, **arguments)

    with_all_bags.__signature__ = own.replace(parameters=[*others, *bags])  # type: ignore[attr-defined]
    return with_all_bags  # type: ignore[return-value]


class _Bag(list[Any]):
    """A bag in memory."""

    add = list.append

    def read(self) -> list[Any]:
        return list(self)


class _Value:
    """A value in memory."""

    def __init__(self) -> None:
        self._value: bytes | None = None

    def read(self) -> bytes | None:
        return self._value

    def write(self, value: bytes) -> None:
        self._value = value


def in_memory() -> Callable[[], KeyedState]:
    """State in memory. Each call of the returned function gives the state for the next turn of the shard."""
    jobs, layout, inbox = _Value(), _Value(), _Bag()
    queue, held = [_Bag() for _ in _QUEUE], [_Bag() for _ in _HELD]
    return lambda: KeyedState(jobs, layout, inbox, queue, held)
