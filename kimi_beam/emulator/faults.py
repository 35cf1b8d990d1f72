"""Fault injection: the list of faults, their specification, and reproducible draws.

A specification names each fault with its probability: ``"rate_limit=0.1:2,never_ends=0.01"``, or ``"all=0.05"`` for all
faults; later parts override earlier ones. The number after a colon is the fault's argument, if it has one. Values that
are valid and wrong (`leaf_faults`) are not among ``all``: ``"wrong_leaf=0.05"`` makes each value wrong so often.

Draws use a hash instead of a random generator: a fault strikes if ``hash(seed, fault, key, occurrence)`` is below its
probability. The key of an item is its document, and the key of a job its documents. So in any order of threads and
connections the same document meets the same faults; sent again, it is the next occurrence and is drawn anew. Only the
faults of a whole HTTP request are keyed by the endpoint and the number of the request there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from types import MappingProxyType
from typing import Final, Literal

from kimi_beam.emulator.leaf_faults import ANY_LEAF, LEAF_FAULTS
from kimi_beam.emulator.refusals import CODES

Endpoint = Literal["submit", "poll", "run", "pull", "ack", "convert"]

_REQUEST: Final = {
    "drop_before_accept": "the connection is closed before the request has an effect",
    "rate_limit": "429 / 3021 with Retry-After in seconds (argument: how many, 1 if absent)",
    "rate_limit_date": "429 / 3021 with Retry-After as an HTTP date (argument: seconds from now, 1 if absent)",
    "capacity": "429 / 3040, capacity temporarily exceeded",
    "error_500": "500 / 8005 in the usual envelope",
    "error_code": "any of Cloudflare's internal codes with its status (argument: which, 3007 if absent)",
    "error_502_bare": "502 with an HTML page instead of an envelope; the request had no effect",
    "drop_after_accept": "a submit or run is accepted (and billed), then the connection is closed without a reply",
}
_JOB: Final = {
    "never_ends": "the job stays queued until it is forgotten; nothing is billed",
    "expired": "the job is accepted, every poll answers 5504; nothing is billed",
    "failed_job": "the whole job fails on poll with code 5001; nothing is billed",
}
_READ: Final = {
    "wrong_reply": "a poll of a finished job is answered with the items of a job that somebody else submitted",
    "partial_reply": "a poll of a finished job lacks every second of its items; the next one may have them",
    "null_results": "a poll of a finished job has null where its results should stand",
}
_TEXT: Final = {
    "fenced": "the JSON in a ```json fence",
    "prose": "text around the JSON",
    "wrapped": 'the JSON inside {"result": …}',
    "python": "True, False and None as Python writes them, and a comma behind the last member",
    "number_texts": "numbers as texts",
    "parsed": "content is the parsed value, not a string",
    "in_reasoning": "the JSON in the reasoning, and content null",
    "truncated": "the JSON is cut and finish_reason is length",
    "broken_off": "the JSON is cut and finish_reason is stop",
    "empty": "content null, with reasoning_content and finish_reason length",
    "invalid": "JSON that violates the schema",
}
_ITEM: Final = {
    "missing_item": "the item is billed, but is not in the finished job",
    "failed_item": "success: false for this item; it is not billed",
    "doubled_item": "the item stands twice in the finished job",
    "unknown_reference": "an extra item with an external_reference that nobody sent",
    **_TEXT,
    "json_mode": "5024, JSON mode could not be met, where a json_schema was asked for; it is not billed",
}
_CORRECTION: Final = {"stubborn": "shown its answer and what is wrong with it, the model answers with JSON as wrong"}
_STREAM: Final = {
    "stream_error": "an error 3040 is the first event of a stream, under HTTP 200; it is not billed",
    "stream_cut": "the connection is closed in the middle of a stream",
}
_EVENT: Final = {
    "lost_event": "nobody is told that the job has ended",
    "doubled_event": "the event of a job's end is sent twice",
    "late_event": "the event of a job's end comes late (argument: how many seconds, 60 if absent)",
}
_BESIDE_THE_MODEL: Final = ("drop_before_accept", "rate_limit", "error_500", "error_502_bare", "drop_after_accept")
_PLACED: Final = ("missing_item", "doubled_item", "unknown_reference")  # these need a job's array to happen in

FAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {**_REQUEST, **_JOB, **_READ, **_ITEM, **_CORRECTION, **_STREAM, **_EVENT, **LEAF_FAULTS}
)
"""The names of all faults, each with a description."""
_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "all": tuple(name for name in FAULTS if name not in LEAF_FAULTS),
    ANY_LEAF: tuple(LEAF_FAULTS),
}
"""The names for several faults: each of ``all`` has the probability, and those of values have it together."""

WITH_ARGUMENT: Final = frozenset({"rate_limit", "rate_limit_date", "error_code", "late_event"})


class FaultsError(ValueError):
    """A specification of faults is invalid. The message is one line and names the valid faults."""

    def __init__(self, problem: str) -> None:
        names = ", ".join(FAULTS)
        super().__init__(
            f"faults: {problem}; valid: NAME=PROBABILITY[:ARG],… with NAME one of {', '.join(_GROUPS)}, {names}"
        )


@dataclass(frozen=True)
class Faults:
    """How often each fault strikes; make one with `Faults.parse`.

    Attributes:
        probability: Fault name to a probability between 0 and 1; a name that is absent never strikes.
        argument: Fault name to its argument, for faults with one.
    """

    probability: Mapping[str, float] = field(default_factory=dict)
    argument: Mapping[str, float] = field(default_factory=dict)

    @property
    def has_wrong_leaves(self) -> bool:
        """Whether single values of answers are made wrong."""
        return any(self.probability.get(name) for name in LEAF_FAULTS)

    @classmethod
    def parse(cls, spec: str) -> Faults:
        """Read a specification.

        Args:
            spec: ``NAME=PROBABILITY[:ARG]`` parts joined by commas; the empty string is no faults.

        Raises:
            FaultsError: A part has an unknown name, no probability from 0 to 1, or an invalid argument.
        """
        probability: dict[str, float] = {}
        argument: dict[str, float] = {}
        for part in filter(None, (part.strip() for part in spec.split(","))):
            name, equals, value = (piece.strip() for piece in part.partition("="))
            value, colon, extra = value.partition(":")
            if name not in _GROUPS and name not in FAULTS:
                raise FaultsError(f"there is no fault {name!r}")
            if not equals:
                raise FaultsError(f"{part!r} has no probability")
            chance = _number(value)
            if chance is None or chance > 1:
                raise FaultsError(f"{value!r} is not a probability from 0 to 1")
            if colon:
                if name not in WITH_ARGUMENT:
                    raise FaultsError(f"{name} takes no argument")
                seconds = _number(extra)
                if seconds is None:
                    raise FaultsError(f"{extra!r} is not a number of seconds")
                if name == "error_code" and seconds not in CODES:
                    raise FaultsError(f"{extra!r} is not an internal code")
                argument[name] = seconds
            each = chance / len(LEAF_FAULTS) if name == ANY_LEAF else chance
            probability.update(dict.fromkeys(_GROUPS.get(name, (name,)), each))
        if sum(probability.get(name, 0.0) for name in LEAF_FAULTS) > 1:
            raise FaultsError(f"the probabilities of {', '.join(LEAF_FAULTS)} are together above 1")
        return cls(MappingProxyType(probability), MappingProxyType(argument))

    def draw(self, name: str, *, seed: int, key: str, occurrence: int) -> float | None:
        """Draw a fault for the ``occurrence``-th time that ``key`` occurs.

        Returns:
            A number from 0 to 1, the same for the same arguments, if the fault strikes; else None.
        """
        chance = self.probability.get(name, 0.0)
        if not chance:
            return None
        digest = blake2b(f"{seed}\0{name}\0{key}\0{occurrence}".encode(), digest_size=8).digest()
        drawn = int.from_bytes(digest, "big") / 2**64
        return drawn / chance if drawn < chance else None


def _number(text: str) -> float | None:
    """Return a finite number of at least 0, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


class Injector:
    """Draws the faults of one running service, counts how often each key has occurred, and counts injected faults.

    At most one fault strikes a request, a job or an item. If several would, each of them is equally likely.


    Attributes:
        injected: Fault name to the number of times it was injected.
    """

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self._seed = seed
        self._seen: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()

    def request(self, endpoint: Endpoint) -> str | None:
        """Draw for the next request at an endpoint; the caller counts `drop_after_accept` once it has accepted."""
        names = list(_BESIDE_THE_MODEL if endpoint in ("pull", "ack", "convert") else _REQUEST)
        if endpoint == "poll":
            names.remove("drop_after_accept")
        name = self._draw(names, f"request:{endpoint}")
        return name if name == "drop_after_accept" else self.count(name)

    def job(self, key: str) -> str | None:
        """Draw for a job whose items' keys are digested in ``key``."""
        return self.count(self._draw(_JOB, f"job:{key}"))

    def read(self, key: str) -> str | None:
        """Draw for one reading of a finished job; the key is that of `job`."""
        return self.count(self._draw(_READ, f"read:{key}"))

    def item(
        self, key: str, *, is_synchronous: bool = False, structured: bool = True, is_correction: bool = False
    ) -> str | None:
        """Draw for an item. A model that is shown what is wrong with its answer gives a good one, unless stubborn.

        Args:
            key: The key of its document.
            is_synchronous: Whether it is a synchronous run, which has no array that could lack or double an item.
            structured: Whether it asks for a ``json_schema``.
            is_correction: Whether it shows the model an answer with what is wrong with it.
        """
        passed = {*(_PLACED if is_synchronous else ()), *(() if structured else ("json_mode",))}
        passed |= _TEXT.keys() if is_correction else _CORRECTION.keys()
        names = [name for name in (*_ITEM, *_CORRECTION) if name not in passed]
        return self.count(self._draw(names, f"item:{key}"))

    def occurrence(self, key: str) -> int:
        """Return how often the document ``key`` was drawn for by `item` before the last time."""
        return max(0, self._seen[f"item:{key}"] - 1)

    def stream(self, key: str) -> str | None:
        """Draw for a stream that answers the document ``key``."""
        return self.count(self._draw(_STREAM, f"stream:{key}"))

    def event(self, key: str) -> str | None:
        """Draw for the event about the end of a job; the key is that of `job`."""
        return self.count(self._draw(_EVENT, f"event:{key}"))

    def count(self, name: str | None) -> str | None:
        """Count a fault as injected and return it; None is no fault."""
        if name is not None:
            self.injected[name] += 1
        return name

    def argument(self, name: str, default: float) -> float:
        """Return the argument the specification gave to a fault."""
        return self._faults.argument.get(name, default)

    def _draw(self, names: Iterable[str], key: str) -> str | None:
        if not self._faults.probability:
            return None
        occurrence = self._seen[key]
        self._seen[key] += 1
        drawn = ((self._faults.draw(n, seed=self._seed, key=key, occurrence=occurrence), n) for n in names)
        return min(((value, name) for value, name in drawn if value is not None), default=(0, None))[1]
