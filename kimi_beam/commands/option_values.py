"""Parsers for the values of options. Each raises ArgumentTypeError, which argparse shows as the user's mistake."""

from __future__ import annotations

import argparse
from typing import Literal


def keys(text: str) -> list[str]:
    """``a,b`` as a list."""
    return [key for key in text.split(",") if key]


_FORMATS: dict[str, Literal[True, False, "local"]] = {"strict": True, "local": "local", "off": False}


def formats(text: str) -> Literal[True, False, "local"]:
    """``strict``, ``local`` or ``off`` as `OutputSchema` takes it."""
    if text not in _FORMATS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(_FORMATS)}")
    return _FORMATS[text]


def _number(text: str, wanted: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}") from None


def count(text: str) -> int:
    """A whole number from 0 on."""
    number = _number(text, "a whole number")
    if number < 0 or not number.is_integer():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(number)


def at_least_one(text: str) -> int:
    """A whole number from 1 on."""
    number = count(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def pairs(text: str) -> dict[str, str]:
    """``KEY=VALUE,…`` as a dict."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    if not all(key and equals for key, equals, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE,…")
    return {key: value for key, _, value in pairs}


def budget(text: str) -> float:
    """Dollars above 0, with or without a dollar sign."""
    number = _number(text.removeprefix("$"), "a number of dollars")
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of dollars above 0")
    return number


def dollars(text: str) -> tuple[float, float, float]:
    """``PROMPT:CACHED:COMPLETION`` in dollars a million tokens."""
    numbers = [_number(part, "PROMPT:CACHED:COMPLETION in dollars a million tokens") for part in text.split(":")]
    if len(numbers) != 3 or not all(0 <= number < float("inf") for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not PROMPT:CACHED:COMPLETION in dollars a million tokens")
    return numbers[0], numbers[1], numbers[2]


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def age(text: str) -> float:
    """Seconds of ``90``, ``15m``, ``12h`` or ``30d``."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    seconds = _number(number, "an age such as 90s, 15m, 12h or 30d") * _UNITS[unit]
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError("must be 0 or more")
    return seconds


def positive(text: str) -> float:
    """Seconds above 0."""
    number = _number(text, "a number of seconds")
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def interval(text: str) -> tuple[float, float]:
    """``MIN:MAX`` in seconds; one number is both."""
    first, colon, last = text.partition(":")
    wanted = "MIN:MAX in seconds"
    low, high = _number(first, wanted), _number(last if colon else first, wanted)
    if not 0 < low <= high < float("inf"):
        raise argparse.ArgumentTypeError("MIN:MAX in seconds, MIN above 0 and at most MAX")
    return low, high


def bound(text: str) -> tuple[float, bool]:
    """(N, False) for N dead letters, (P, True) for P per cent of the documents."""
    wanted = "a number of dead letters, or a percentage such as 2.5%"
    percent = text.endswith("%")
    number = _number(text[:-1] if percent else text, wanted)
    if not 0 <= number < float("inf") or (not percent and number != int(number)):
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return number, percent
