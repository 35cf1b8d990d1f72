"""Whether a text is past a model's window, known before it is sent: a number of tokens that it has at least.

What is refused here must be past the window for certain, so this is a lower bound and no estimate. Tokenizers of the
kind that Kimi has (byte-pair encoding after a split by a pattern, as GPT's, Llama's and Qwen's) never join what the
pattern splits, so that a text has at least as many tokens as pieces. Kimi's pattern (in the source of its tokenizer,
beside its weights) splits at white space, between letters and digits, and digits by threes; that "1234567890" is four
tokens stands in another project's test of it. That Cloudflare serves this tokenizer is assumed.
Counted are, of each run of characters without ASCII white space: one, if it is not all ASCII; else its runs of letters
and its groups of up to three digits, but at least one. Real texts have a third more tokens than that; long words of
other alphabets, several times as many.
"""

from __future__ import annotations

import re
from itertools import islice

_RUNS = re.compile(r"[^ \t\n\r\x0b\x0c]+")
# Letters after an apostrophe may belong to the piece before it ("don't"); a letter is never counted twice.
_PIECES = re.compile(r"(?<!['A-Za-z])[A-Za-z]+|[0-9]{1,3}")


_ENOUGH = 1 << 20
"""Counting stops there: no window is larger, and a text of 8 MB could otherwise take seconds."""


def least_tokens(text: str) -> int:
    """The tokens that a text has at least, counted up to about a million; its characters are more, or as many."""
    total = 0
    for found in _RUNS.finditer(text):
        total += _least_of_run(found.group())
        if total >= _ENOUGH:
            break
    return total


def _least_of_run(run: str) -> int:
    if len(run) < 2 or not run.isascii():
        return 1
    return sum(1 for _ in islice(_PIECES.finditer(run), _ENOUGH)) or 1
