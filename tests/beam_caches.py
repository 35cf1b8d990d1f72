"""Spares each pipeline of the tests what Beam does hundreds of times with the same few arguments.

Beam (2.77) reads the signature of each method of a step whenever it asks whether the step has state, makes a new parser
of its options for each transform that it applies, lists all modules whenever it measures a value of its cache of state,
takes a millisecond to compress each function that it pickles, and formats the stack wherever a type is declared. That
is more than half of the CPU of a pipeline with few documents. Programs that the tests start have Beam as it is.
"""

from __future__ import annotations

import bz2
import functools
import sys
import types
from argparse import Namespace
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from apache_beam.internal import cloudpickle_pickler
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core, userstate
from apache_beam.typehints.decorators import IOTypeHints
from objsize import traverse

args_defaults_of_beam: Callable[[Any], tuple[list[str], list[Any]]] = core.get_function_args_defaults
view_as_of_beam: Callable[[PipelineOptions, type[Any]], Any] = PipelineOptions.view_as
Specs: TypeAlias = tuple[set[Any], set[Any]]
specs_of_beam: Callable[[core.DoFn], Specs] = userstate.get_dofn_specs
origin_of_beam: Callable[..., list[str]] = IOTypeHints._make_origin
globals_of_objsize: Callable[[], Any] = traverse._iter_modules_globals

_functions: WeakKeyDictionary[types.FunctionType, tuple[list[str], list[Any]]] = WeakKeyDictionary()
_methods: WeakKeyDictionary[types.FunctionType, tuple[list[str], list[Any]]] = WeakKeyDictionary()
_parsed: dict[tuple[type[PipelineOptions], tuple[str, ...]], Namespace] = {}
_specs: WeakKeyDictionary[type[core.DoFn], dict[tuple[str, ...], Specs]] = WeakKeyDictionary()
_SMALL = 100_000
_BUNDLE_METHODS = ("start_bundle", "process", "finish_bundle")
_globals: tuple[int, list[Any]] = (0, [])


def install() -> None:
    """Puts the caches before Beam's functions, in this process."""
    core.get_function_args_defaults = args_defaults
    PipelineOptions.view_as = view_as
    userstate.get_dofn_specs = specs
    traverse._iter_modules_globals = module_globals
    cloudpickle_pickler.bz2 = types.SimpleNamespace(compress=compress, decompress=decompress)
    IOTypeHints._make_origin = staticmethod(origin)


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


def specs(do_fn: core.DoFn) -> Specs:
    """Returns what `userstate.get_dofn_specs` does: the specs of state and timers in the methods of a step.

    They are those of its class, unless the object has a method of its own, as a step has that is made of a method, or
    says by itself what the arguments of its methods are, as the wrapper of a step does.
    """
    cls, own = type(do_fn), vars(do_fn)
    hidden = tuple(name for name in own if hasattr(cls, name))
    says_itself = any(hasattr(cls, f"_inspect_{name}") and name not in hidden for name in _BUNDLE_METHODS)
    if says_itself or any(isinstance(value, types.MethodType) for value in own.values()):
        return specs_of_beam(do_fn)
    known = _specs.setdefault(cls, {})
    if hidden not in known:
        known[hidden] = specs_of_beam(do_fn)
    states, timers = known[hidden]
    return set(states), set(timers)


def module_globals() -> list[Any]:
    """Returns what objsize's function of this purpose does, anew only if the number of modules has changed."""
    global _globals
    if _globals[0] != len(sys.modules):
        _globals = len(sys.modules), list(globals_of_objsize())
    return _globals[1]


def compress(content: bytes, compresslevel: int = 9) -> bytes:
    """Compresses what was pickled: mostly the same functions and coders, in each pipeline."""
    return _compressed(content) if len(content) < _SMALL else bz2.compress(content)


def decompress(content: bytes) -> bytes:
    """Decompresses what was pickled."""
    return _decompressed(content) if len(content) < _SMALL else bz2.decompress(content)


_compressed = functools.lru_cache(4_096)(bz2.compress)
_decompressed = functools.lru_cache(4_096)(bz2.decompress)


def origin(bases: list[IOTypeHints], tb: bool = True, msg: Iterable[str] = ()) -> list[str]:
    """Returns what `IOTypeHints._make_origin` does, without the stack, which Beam shows with a wrong type."""
    return origin_of_beam(bases, False, msg)
