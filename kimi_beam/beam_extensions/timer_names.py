"""Gives the timers of each step names of their own, because one of Beam's runners mixes up timers of the same name.

Beam 2.77's FnApiRunner keeps the timers of all steps in buffers that it finds by the timer's name alone. If two steps
have timers of the same name, it hands those of one step to the other or drops them: a pipeline with two `Extract`s lost
the documents of one of them without an error (``tests/runners/test_timers.py`` shows it with plain Beam). So the name
of a timer holds a hash of its step's own label, which no other step of the pipeline has.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import apache_beam as beam
from apache_beam.transforms.userstate import TimerSpec, on_timer

Step = TypeVar("Step", bound=beam.DoFn)


def with_own_timers(do_fn: type[Step], owner: str) -> type[Step]:
    """Makes a subclass of a `DoFn` whose timers are named after one step of a pipeline.

    The names are the same each time the same pipeline is built, because Dataflow and Flink find the timers of a running
    job by their names.

    Args:
        do_fn: A class that can be imported, with `TimerSpec`s as defaults of its methods' parameters.
        owner: The full label of the step, or of the step before it: a text that no other step of the pipeline has.

    Example:
        >>> from kimi_beam.transforms.dispatch import DispatchBounded
        >>> invoices = with_own_timers(DispatchBounded, "Invoices/MakeBatches")
        >>> receipts = with_own_timers(DispatchBounded, "Receipts/MakeBatches")
        >>> issubclass(invoices, DispatchBounded), invoices is receipts
        (True, False)
    """
    named: type[Step] = _named(cast(Any, do_fn), owner)
    return named


@functools.cache
def _named(do_fn: Any, owner: str) -> Any:
    suffix = hashlib.blake2b(owner.encode(), digest_size=4).hexdigest()

    @functools.cache
    def own(spec: TimerSpec) -> TimerSpec:
        return TimerSpec(f"{spec.name.removeprefix(TimerSpec.prefix)}-{suffix}", spec.time_domain)

    def reduce(self: Any) -> tuple[Any, ...]:
        return _restored, (do_fn, owner), self.__dict__

    methods: dict[str, Any] = {"__reduce__": reduce, "__doc__": do_fn.__doc__, "__module__": do_fn.__module__}
    for name, method in inspect.getmembers(do_fn, inspect.isfunction):
        parameters = inspect.signature(method).parameters.values()
        timers = [parameter for parameter in parameters if isinstance(parameter.default, beam.DoFn.TimerParam)]
        # Beam 2.77 keeps the method that `on_timer` decorated in this private attribute, and has no public name for it.
        # Without it `tests/runners/test_timers.py` fails: a timer would have no method.
        callback_of = {id(spec._attached_callback): spec for spec in _timers_of(do_fn)}.get(id(method))
        if timers or callback_of is not None:
            methods[name] = _with_defaults(method, {one.name: own(one.default.timer_spec) for one in timers})
            if callback_of is not None:
                on_timer(own(callback_of))(methods[name])
    return type(do_fn.__name__, (do_fn,), methods)


def _timers_of(do_fn: type[beam.DoFn]) -> list[TimerSpec]:
    return [value for _, value in inspect.getmembers(do_fn) if isinstance(value, TimerSpec)]


def _with_defaults(method: Callable[..., Any], timers: dict[str, TimerSpec]) -> Callable[..., Any]:
    """A method with these timers as the defaults of its parameters. Beam reads the timers from the signature."""
    known = inspect.signature(method)
    parameters = [
        one.replace(default=beam.DoFn.TimerParam(timers[one.name])) if one.name in timers else one
        for one in known.parameters.values()
    ]

    @functools.wraps(method)
    def same(*arguments: Any, **named: Any) -> Any:
        return method(*arguments, **named)

    same.__signature__ = known.replace(parameters=parameters)  # type: ignore[attr-defined]
    return same


def _restored(do_fn: Any, owner: str) -> Any:
    """Creates the empty object into which a worker unpickles the fields of a step."""
    return object.__new__(_named(do_fn, owner))
