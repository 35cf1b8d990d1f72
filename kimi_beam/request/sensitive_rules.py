"""Finds values in a text that are sensitive and can be checked: bank accounts, payment cards, e-mails, phone numbers.

A rule finds what has the form and passes the check of its kind (IBAN: modulo 97 and the length of its country; cards:
Luhn's digit; phone numbers: the numbering plan, by the library phonenumbers). What only looks like it is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from kimi_beam.errors import ConfigError

Span: TypeAlias = "tuple[int, int, str]"
"""The first character, the one behind the last, and the kind of what stands there."""

KINDS = ("iban", "card", "email", "phone")
"""The built-in rules, in the order in which they go first where two find the same characters."""

_BREAK = r"[ \t]{0,3}\r?\n[ \t]{0,3}"
"""Where a line ends inside a value, and the next one begins."""
_IBAN = re.compile(
    rf"(?<![A-Za-z0-9])[A-Z]{{2}}\d{{2}}(?:(?:[ \u00a0\u202f-]|{_BREAK})?[A-Z0-9]){{11,30}}(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_CARD = re.compile(r"(?<![\w.,-])[2-6]\d{3}(?:[ \u00a0\u202f-]?\d){10,15}(?![\w-]|[.,]\d)")
# Only one in groups of four is known again over the end of a line: other numbers stand below each other too.
_FOURS = r"\d{4}(?:[ \u00a0\u202f-]\d{4}){0,2}"
_CARD_OVER_LINES = re.compile(rf"(?<![\w.,-])(?<!\d[ \u00a0\u202f]){_FOURS}{_BREAK}{_FOURS}(?![\w-]|[ .,]\d)")
# The beginnings and lengths that cards have: the last digit of one in ten other numbers fits by chance.
_CARD_NUMBERS = re.compile(
    r"4\d{15}(?:\d{3})?|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}|(?:35|5[06-8]|6\d)\d{14,17}"
)
_DATE = re.compile(r"\d{1,4}\s?([./-])\s?\d{1,2}\s?\1\s?\d{1,4}")
_EMAIL = re.compile(
    r"(?<![\w.!#$%&'*+/=?^`{|}~-])[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*"
    rf"@(?:{_BREAK})?"
    r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_]{2,63}(?![\w-])"
)
_PHONE_OVER_LINES = re.compile(rf"\+\d[\d ()/.-]{{0,20}}{_BREAK}[\d(][\d ()/.-]{{0,20}}")
_PART = re.compile(r"[^A-Za-z0-9]")
_LENGTHS = dict(
    re.findall(
        r"(\w\w):(\d\d)",
        "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DJ:27 "
        "DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HN:28 HR:21 HU:28 "
        "IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 "
        "MK:19 MN:20 MR:27 MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 RU:33 SA:24 "
        "SC:31 SD:18 SE:24 SI:19 SK:24 SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20 YE:30",
    )
)
"""The length of an IBAN by country (SWIFT's registry)."""


@dataclass(frozen=True, slots=True)
class SensitiveRule:
    """One of the built-in rules.

    Attributes:
        kind: One of `KINDS`.
        region: The country whose numbers are found in their national form too (``DE``), for ``phone``. Empty: only
            numbers that begin with + and the code of a country are found.

    Raises:
        ConfigError: There is no such rule or region, or the library that it needs is missing.
    """

    kind: str
    region: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS or (self.region and self.kind != "phone"):
            raise ConfigError(f"redact: {self} is none of {', '.join(KINDS)} and phone:REGION, such as phone:DE")
        if self.kind == "phone":
            try:
                import phonenumbers
            except ImportError:
                raise ConfigError("redact: phone numbers need pip install 'kimi-beam[redaction]'") from None
            if self.region and self.region not in phonenumbers.SUPPORTED_REGIONS:
                raise ConfigError(f"redact: {self.region!r:.20} is no region of phone numbers, such as DE")

    def __str__(self) -> str:
        return f"{self.kind}:{self.region}" if self.region else self.kind

    def __call__(self, text: str) -> Iterator[Span]:
        """The places of such values in a text, in ascending order."""
        if self.kind == "phone":
            return _phones(text, self.region)
        return ((start, end, self.kind) for start, end in _OF_KIND[self.kind](text))


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    position = 0
    while found := _IBAN.search(text, position):
        position = found.start() + 2
        length = int(_LENGTHS.get(found.group()[:2].upper(), 0))
        # What follows an IBAN on its line may look like more of it, so that only so many characters are taken.
        end = _end_of(found.group(), length)
        if end and iban_remainder(_PART.sub("", found.group()[:end])) == 1:
            yield found.start(), found.start() + end
            position = found.start() + end


def _end_of(written: str, length: int) -> int:
    """The index behind so many letters and digits; 0 if there are fewer, or the last one's word goes on."""
    count = 0
    for index, character in enumerate(written):
        count += character.isalnum()
        if count == length:
            return 0 if written[index + 1 : index + 2].isalnum() else index + 1
    return 0


def iban_remainder(compact: str) -> int:
    """The remainder of an IBAN's check: 1 for a right one. Without spaces."""
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97


def _cards(text: str) -> Iterator[tuple[int, int]]:
    found = {match.span() for form in (_CARD, _CARD_OVER_LINES) for match in form.finditer(text) if _is_card(match[0])}
    return iter(sorted(found))


def _is_card(written: str) -> bool:
    digits = _PART.sub("", written)
    return _CARD_NUMBERS.fullmatch(digits) is not None and luhn_sum(digits) % 10 == 0


def luhn_sum(digits: str) -> int:
    """Luhn's sum of a card's number, a multiple of 10 for a right one."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return sum(map(int, digits[-1::-2])) + sum(doubled)


def _emails(text: str) -> Iterator[tuple[int, int]]:
    return (found.span() for found in _EMAIL.finditer(text)) if "@" in text else iter(())


def _phones(text: str, region: str) -> Iterator[Span]:
    """The digits of phone numbers behind the code of the country and zeros, which tell nobody."""
    found = list(_numbers_of_phones(text, region))
    if "+" in text and "\n" in text:
        for match in _PHONE_OVER_LINES.finditer(text):
            start, stop = match.span()
            if not any(start < end and begin < stop for begin, end, _ in found):
                line = re.sub(r"[\r\n\t]", " ", match[0])
                found += [(start + begin, start + end, kind) for begin, end, kind in _numbers_of_phones(line, "")]
    return iter(sorted(found))


def _numbers_of_phones(text: str, region: str) -> Iterator[Span]:
    import phonenumbers

    for found in phonenumbers.PhoneNumberMatcher(text, region or None, leniency=phonenumbers.Leniency.VALID):
        if _DATE.fullmatch(found.raw_string):  # 05.03.2026 is a number of Germany's plan too
            continue
        own = phonenumbers.national_significant_number(found.number)
        places = [found.start + index for index, character in enumerate(found.raw_string) if character.isdigit()]
        extension = len(found.number.extension or "")
        stop = len(places) - extension
        if stop >= len(own):
            yield places[stop - len(own)], places[-1] + 1, "phone"


_OF_KIND: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {"iban": _ibans, "card": _cards, "email": _emails}
