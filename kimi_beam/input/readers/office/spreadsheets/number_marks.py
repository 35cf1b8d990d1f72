"""What the format of a number prints around it, of which the currency is a part: ``1234.5 €``, ``No. 7``."""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|\[\$(?P<currency>[^\]-]*)(?:-[^\]]*)?\]|\[[A-Za-z]{3,7}\d*\]|(?P<bracket>\[[^\]]*\])|_.|\*.'
    r"|(?P<digits>[#0?][#0?.,]*)|(?P<plain>.)"
)
_SIGNS = frozenset("€$£¥₹₽₩ ()+-/:")
"""What a format prints as it stands, without quotes."""
_MOST = 30
"""The most letters that are taken for marks of a number; longer ones are texts."""


class NumberMarks(NamedTuple):
    """What is printed around a number."""

    before: str
    after: str

    def around(self, number: str) -> str:
        """A number with its marks, its sign before all of them."""
        sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
        return f"{sign}{self.before}{digits}{self.after}"


def number_marks(code: str) -> NumberMarks | None:
    """What a format prints before and behind a number; None if nothing, or if it is no plain format of numbers.

    A format that prints another number than the cell has (thousands, percentages, fractions, exponents) has none.

    Args:
        code: The format, such as ``#,##0.00 "EUR"``. What it prints for negative numbers is not looked at.

    Example:
        >>> number_marks('[$€-407] #,##0.00'), number_marks("0.0%"), number_marks("dd/mm/yyyy")
        (NumberMarks(before='€ ', after=''), None, None)
    """
    around = ["", ""]
    has_digits = False
    for token in _TOKEN.finditer(code):
        kind, text = token.lastgroup, token[0]
        if kind == "plain" and text == ";":
            break
        if kind == "digits":
            if has_digits or text.endswith(","):
                return None
            has_digits = True
        elif kind in ("quoted", "escaped", "currency"):
            around[has_digits] += token[kind]
        elif kind == "bracket" or (kind == "plain" and text not in _SIGNS):
            return None
        elif kind == "plain":
            around[has_digits] += text
    before, after = around[0].lstrip(" ("), around[1].rstrip(" )")
    is_said = has_digits and (before.strip(" +-") or after.strip()) and len(before + after) <= _MOST
    return NumberMarks(before, after) if is_said else None
