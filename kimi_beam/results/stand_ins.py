"""Stand-ins: what the model is shown in the place of a redacted value, and how an answer gets the value back.

A stand-in keeps the form of its value, so that a schema's pattern and a model that looks for an e-mail still fit: an
IBAN with a right check sum, digits in groups as long, an address below ``.invalid``. What has no known form becomes
``<PERSON_1>``. It is made of the kind and a number, never of the value, so that it tells nothing of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from itertools import count

from kimi_beam.types import Redaction

_SEPARATORS = r"[ .\-/()\u00a0\u2009\u202f]{0,3}"
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_OTHERS = re.compile(r"[\W_]+")
_NUMBER = re.compile(r"\d(?:[ .\-/\u00a0\u2009\u202f]?\d)+")
_ESCAPE = re.compile(r"\\u[0-9a-f]{4}")
_LEAST_FORMED = 6
"""A value of fewer letters and digits gets no stand-in of its form, which could stand in a text by chance."""
_LEAST_PIECE = 4
"""So many characters of a stand-in tell it: the last four digits of a card are asked for often."""
DOMAIN = "redacted.invalid"
"""The domain of stand-ins of e-mails. No address below ``.invalid`` exists (RFC 2606)."""


def compact(text: str) -> str:
    """A text without anything that is no letter or digit, in one case."""
    return _OTHERS.sub("", text).casefold()


class StandIns:
    """Makes stand-ins for the values of one document: the same one for the same value, however it is spaced.

    Args:
        words: All of the document that the model may be shown. No stand-in stands in it already.
    """

    def __init__(self, words: str) -> None:
        self._words, self._compact = words.casefold(), compact(words)
        self._made: dict[tuple[str, str], str] = {}
        self._used: set[str] = set()

    def of(self, kind: str, value: str) -> str:
        """The stand-in of a value, spaced as the value is."""
        key = kind, compact(value)
        made = self._made.get(key)
        if made is None:
            number = 1 + sum(other == kind for other, _ in self._made)
            made = next(one for attempt in count() if self._is_free(one := _made(kind, value, number, attempt)))
            self._made[key] = made
            if not made.startswith("<"):
                self._used.add(compact(made))
        return _spaced(made, value) if _has_form(kind, value) and kind != "email" else made

    def _is_free(self, stand_in: str) -> bool:
        if stand_in.startswith("<"):
            return stand_in[1:-1].casefold() not in self._words
        plain = compact(stand_in)
        return plain not in self._compact and not any(plain in other or other in plain for other in self._used)


def _has_form(kind: str, value: str) -> bool:
    """Whether a value gets a stand-in of its own form: what a user's function finds may be no number at all."""
    plain = compact(value)
    if len(plain) < _LEAST_FORMED or not plain.isascii():
        return kind == "email" and "@" in value
    return kind in ("iban", "email") or (kind in ("card", "phone") and plain.isdigit())


def _made(kind: str, value: str, number: int, attempt: int) -> str:
    if not _has_form(kind, value):
        return f"<{kind.upper()}_{number + 1_000 * attempt}>"
    seed = hashlib.blake2b(f"{kind} {number} {attempt}".encode()).digest()
    if kind == "email":
        return f"person{number}.{seed.hex()[:4]}@{DOMAIN}"
    written = "".join(character for character in value if character.isalnum())
    drawn = "".join(_drawn(character, byte) for character, byte in zip(written, seed * 4, strict=False))
    if kind == "iban":
        return _checked_iban(written[:2] + drawn[2:])
    if kind == "card":
        return _checked_card(written[0] + drawn[1:])
    return drawn if drawn[0] != "0" else f"7{drawn[1:]}"


def _drawn(character: str, byte: int) -> str:
    if character.isdigit():
        return str(byte % 10)
    letter = chr(ord("a") + byte % 26)
    return letter.upper() if character.isupper() else letter


def _checked_iban(compact_iban: str) -> str:
    rest = "".join(str(int(character, 36)) for character in f"{compact_iban[4:]}{compact_iban[:2]}00")
    return f"{compact_iban[:2]}{98 - int(rest) % 97:02}{compact_iban[4:]}"


def _checked_card(digits: str) -> str:
    sums = (int(digit) if index % 2 else sum(divmod(2 * int(digit), 10)) for index, digit in enumerate(digits[-2::-1]))
    return f"{digits[:-1]}{-sum(sums) % 10}"


def _spaced(letters: str, value: str) -> str:
    """Letters and digits in the spacing of a value that has as many."""
    each = iter(letters)
    return "".join(next(each) if character.isalnum() else character for character in value)


class Restorer:
    """Puts the values of one document back in the places of their stand-ins, as exactly as an answer spells these.

    Args:
        redactions: What was redacted in the document.
    """

    def __init__(self, redactions: Sequence[Redaction]) -> None:
        self._originals: dict[str, list[Redaction]] = {}
        for redaction in redactions:
            self._originals.setdefault(compact(redaction.stand_in), []).append(redaction)
        patterns = {plain: _pattern(some[0]) for plain, some in self._originals.items()}
        longest_first = sorted(patterns.values(), key=len, reverse=True)
        self._pattern = re.compile("|".join(longest_first), re.IGNORECASE) if longest_first else None

    def restored(self, text: str, written: Callable[[str], str] = lambda value: value) -> str:
        """A text with the values in the places of their stand-ins.

        Args:
            text: The text.
            written: How a value is written into it, such as with the escapes of JSON.
        """
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: written(self._original(match.group())), text)

    def _original(self, found: str) -> str:
        known = self._originals.get(compact(found)) or self._originals[compact(_unescaped(found))]
        for redaction in known:
            if redaction.stand_in == found:
                return redaction.original
        first = known[0]
        if not _has_form(first.kind, first.original) or first.kind == "email":
            return first.original
        spaced = _spaced("".join(filter(str.isalnum, first.original)), found)
        return spaced.lower() if found.islower() else spaced

    def has_pieces(self, answer: str, words: str) -> bool:
        """Whether an answer holds a piece of a stand-in and not the whole, which cannot be restored.

        Args:
            answer: The answer as it came.
            words: All of the document that the values stand in, before it was redacted.
        """
        rest = self._pattern.sub("\n", answer).casefold() if self._pattern is not None else ""
        if any(name in rest for name in (DOMAIN, *self._names())):
            return True
        digits = ["".join(filter(str.isdigit, plain)) for plain in self._originals]
        known, rest = compact(words), _ESCAPE.sub("", rest)
        numbers = {plain for one in _NUMBER.findall(rest) if len(plain := compact(one)) >= _LEAST_PIECE}
        values = {plain for one in _STRING.findall(rest) if len(plain := compact(one)) >= _LEAST_PIECE}
        return any(
            piece not in known and any(piece in one for one in made)
            for pieces, made in ((numbers, digits), (values, self._originals))
            for piece in pieces
        )

    def _names(self) -> list[str]:
        """What tells a stand-in that has no form of a value, or is an e-mail's."""
        return [
            some[0].stand_in.strip("<>").partition("@")[0].casefold()
            for some in self._originals.values()
            if "<" in some[0].stand_in or "@" in some[0].stand_in
        ]


def _pattern(redaction: Redaction) -> str:
    stand_in = redaction.stand_in
    if stand_in.startswith("<"):  # a model may escape the brackets in JSON
        return rf"(?:<|\\u003c){re.escape(stand_in[1:-1])}(?:>|\\u003e)"
    if redaction.kind == "email":
        return rf"(?<![\w.]){re.escape(stand_in)}"
    return _SEPARATORS.join(filter(str.isalnum, stand_in))


def _unescaped(found: str) -> str:
    return re.sub(r"\\u003[ce]", "", found, flags=re.IGNORECASE)
