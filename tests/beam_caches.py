"""Caches for two functions of Beam, which each pipeline calls hundreds of times with the same few arguments.

Beam (2.77) reads the signature of each method of a step whenever it asks whether the step has state, and makes a new
parser of its options for each transform that it applies. Without caches that is two fifths of the CPU of a pipeline
with few documents. Programs that the tests start have Beam as it is.
"""

from __future__ import annotations

import sys
import types
from argparse import Namespace
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core

args_defaults_of_beam: Callable[[Any], tuple[list[str], list[Any]]] = core.get_function_args_defaults
view_as_of_beam: Callable[[PipelineOptions, type[Any]], Any] = PipelineOptions.view_as

_functions: WeakKeyDictionary[types.FunctionType, tuple[list[str], list[Any]]] = WeakKeyDictionary()
_methods: WeakKeyDictionary[types.FunctionType, tuple[list[str], list[Any]]] = WeakKeyDictionary()
_parsed: dict[tuple[type[PipelineOptions], tuple[str, ...]], Namespace] = {}


def install() -> None:
    """Puts the caches before Beam's functions, in this process."""
    core.get_function_args_defaults = args_defaults
    PipelineOptions.view_as = view_as


def args_defaults(function: Any) -> tuple[list[str], list[Any]]:
    """Returns what `core.get_function_args_defaults` does, from the cache for functions and bound methods."""
    known, key = _functions, function
    if isinstance(function, types.MethodType):
        known, key = _methods, function.__func__
    if not isinstance(key, types.FunctionType):
        return args_defaults_of_beam(function)
    if key not in known:
        known[key] = args_defaults_of_beam(function)
    names, defaults = known[key]
    return list(names), list(defaults)


def view_as(options: PipelineOptions, cls: type[Any]) -> Any:
    """Returns what `PipelineOptions.view_as` does, from the cache if a class has parsed the same flags before."""
    flags = options._flags
    key = cls, tuple(sys.argv[1:] if flags is None else flags)
    if key not in _parsed:
        _parsed[key] = _copied(cls(flags)._visible_options)
    view = object.__new__(cls)
    view._flags = flags
    view._visible_options = _copied(_parsed[key])
    for name, value in vars(view._visible_options).items():
        options._all_options.setdefault(name, value)
    view._all_options = options._all_options
    return view


def _copied(options: Namespace) -> Namespace:
    """A copy of parsed options whose lists are its own."""
    return Namespace(**{k: v.copy() if isinstance(v, (list, dict)) else v for k, v in vars(options).items()})
