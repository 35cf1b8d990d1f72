"""Stand-ins: what the model is shown in the place of a redacted value, and how an answer gets the value back.

A stand-in keeps the form of its value, so that a schema's pattern and a model that looks for an e-mail still fit: an
IBAN with a right check sum, digits in groups as long, an address below ``.invalid``. What has no known form becomes
``<PERSON_1>``. It is made of the kind and a number, never of the value, so that it tells nothing of it.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from kimi_beam.types.document import Redaction

_SPACED = re.compile(r"\w(?:[ \r\n.\-/()\u00a0\u2009\u202f]{0,3}\w)*")
_NAMED = re.compile(
    r"(?:<|\\u003c)([a-z][a-z0-9_]*_\d+)(?:>|\\u003e)|(?<![\w.])(person\d+\.[0-9a-f]{4}@redacted\.invalid)",
    re.IGNORECASE,
)
_NAME = re.compile(r"[a-z][a-z0-9_]*_\d+|person\d+\.[0-9a-f]{4}")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_OTHERS = re.compile(r"[\W_]+")
_NUMBER = re.compile(r"\d(?:[ .\-/\u00a0\u2009\u202f]?\d)+")
_ESCAPE = re.compile(r"\\u[0-9a-f]{4}")
_LEAST_FORMED = 6
"""A value of fewer letters and digits gets no stand-in of its form, which could stand in a text by chance."""
_LEAST_PIECES = ((4, 6), (6, 8))
"""So many characters at an edge of a stand-in tell it, as the last four digits of a card are asked for often, and so
many inside of one: of a few stand-ins, and of many, in which any short number stands."""
_FEW = 50
_BETWEEN = "\n"
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
        self._numbers: Counter[str] = Counter()
        self._heads: set[str] = set()
        self._pieces: set[str] = set()

    def of(self, kind: str, value: str) -> str:
        """The stand-in of a value, spaced as the value is."""
        key = kind, compact(value)
        made = self._made.get(key)
        if made is None:
            self._numbers[kind] += 1
            number = self._numbers[kind]
            made = next(one for attempt in count() if self._is_free(one := _made(kind, value, number, attempt)))
            self._made[key] = made
            if made.isalnum():
                self._heads.add(_head(made))
                self._pieces |= _pieces(made)
        return _spaced(made, value) if made.isalnum() else made

    def _is_free(self, stand_in: str) -> bool:
        """Whether a stand-in is in no text, and neither in another stand-in nor around one."""
        if stand_in.startswith("<"):
            return stand_in[1:-1].casefold() not in self._words
        if compact(stand_in) in self._compact:
            return False
        is_mail = not stand_in.isalnum()  # these have numbers of their own
        return is_mail or (_head(stand_in) not in self._pieces and self._heads.isdisjoint(_pieces(stand_in)))


def _head(written: str) -> str:
    """The beginning by which a stand-in is found."""
    return compact(written)[:_LEAST_FORMED]


def _pieces(written: str) -> set[str]:
    plain = compact(written)
    return {plain[start : start + _LEAST_FORMED] for start in range(len(plain) - _LEAST_FORMED + 1)}


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
        self._named: dict[str, str] = {}
        """The values by the name between the brackets, and by the address, of a stand-in that is one."""
        self._formed: dict[str, dict[str, list[Redaction]]] = {}
        """The redactions whose stand-ins are digits: by their beginnings, and by all of their letters and digits."""
        for one in redactions:
            if "<" in one.stand_in or "@" in one.stand_in:
                # An address that the text breaks at the end of a line is written as one word.
                original = "".join(one.original.split()) if one.kind == "email" else one.original
                self._named.setdefault(one.stand_in.strip("<>").casefold(), original)
            else:
                alike = self._formed.setdefault(_head(one.stand_in), {})
                alike.setdefault(compact(one.stand_in), []).append(one)
        self._names = {name.partition("@")[0] for name in self._named}
        made = [plain for alike in self._formed.values() for plain in alike]
        self._made = f"\n{_BETWEEN.join(made)}\n"
        self._least = _LEAST_PIECES[len(made) > _FEW]

    def restored(self, text: str, written: Callable[[str], str] = lambda value: value) -> str:
        """A text with the values in the places of their stand-ins.

        Args:
            text: The text.
            written: How a value is written into it, such as with the escapes of JSON.
        """
        return "".join(written(piece) if is_value else piece for piece, is_value in self._divided(text))

    def _divided(self, text: str) -> Iterator[tuple[str, bool]]:
        """The text in pieces: what stays as it is, and the values that take the places of stand-ins."""
        position = 0
        for start, end, value in sorted([*self._named_places(text), *self._formed_places(text)]):
            if start >= position:
                yield text[position:start], False
                yield value, True
                position = end
        yield text[position:], False

    def _named_places(self, text: str) -> Iterator[tuple[int, int, str]]:
        for found in _NAMED.finditer(text) if self._named else ():
            if (value := self._named.get((found[1] or found[2]).casefold())) is not None:
                yield *found.span(), value

    def _formed_places(self, text: str) -> Iterator[tuple[int, int, str]]:
        """The places of stand-ins that have a form, in any spacing, in time that grows with the text alone."""
        if not self._formed:
            return
        places = [index for index, character in enumerate(text) if character.isalnum()]
        plain = "".join(text[index].lower()[:1] for index in places)
        behind = 0
        for start in range(len(plain) - _LEAST_FORMED + 1):
            alike = self._formed.get(plain[start : start + _LEAST_FORMED]) if start >= behind else None
            for stand_in, redactions in (alike or {}).items():
                if plain.startswith(stand_in, start):
                    stop = start + len(stand_in)
                    found = text[places[start] : places[stop - 1] + 1]
                    if _SPACED.fullmatch(found):
                        yield places[start], places[stop - 1] + 1, _original(found, redactions)
                        behind = stop
                        break

    def has_pieces(self, answer: str, words: str) -> bool:
        """Whether an answer holds a piece of a stand-in and not the whole, which cannot be restored.

        Args:
            answer: The answer as it came.
            words: All of the document that the values stand in, before it was redacted.
        """
        rest = "\n".join(piece for piece, is_value in self._divided(answer) if not is_value)
        rest = _ESCAPE.sub("", rest.casefold())
        if any(name in self._names for name in _NAME.findall(rest)) or (DOMAIN in rest and DOMAIN not in words):
            return True
        plain = set(map(compact, (*_NUMBER.findall(rest), *_STRING.findall(rest))))
        pieces = list(filter(self._is_piece, plain))
        if not pieces:
            return False
        known = compact(words)
        return any(piece not in known for piece in pieces)

    def _is_piece(self, plain: str) -> bool:
        """Whether letters and digits stand in a stand-in, and not by chance."""
        at_edge, inside = self._least
        if len(plain) >= inside:
            return plain in self._made
        return len(plain) >= at_edge and (f"\n{plain}" in self._made or f"{plain}\n" in self._made)


def _original(found: str, redactions: Sequence[Redaction]) -> str:
    """The value of a stand-in in the spacing in which it was found."""
    for one in redactions:
        if one.stand_in == found:
            return one.original
    spaced = _spaced("".join(filter(str.isalnum, redactions[0].original)), found)
    return spaced.lower() if found.islower() else spaced
