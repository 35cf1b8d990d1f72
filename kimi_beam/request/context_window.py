"""Whether a text fits into a model's context window: a lower bound of its tokens, computed before it is sent.

A document is refused only if it exceeds the window for certain, so this is a lower bound and no estimate. Tokenizers
like Kimi's (byte-pair encoding after a split by a pattern, as GPT's, Llama's and Qwen's) never join what the pattern
splits, so a text has at least as many tokens as pieces. Kimi's pattern (in the source of its tokenizer, beside its
weights) splits at white space, between letters and digits, and digits by threes; another project's test of it has four
tokens for "1234567890". That Cloudflare serves this tokenizer is assumed.

The count for each run of characters without ASCII white space is: one, if it is not all ASCII; otherwise its runs of
letters plus its groups of up to three digits, but at least one. Real texts have a third more tokens than that, and long
words of other alphabets several times as many.
"""

from __future__ import annotations

import re
from itertools import islice

_SPACE = r" \t\n\r\x0b\x0c"
_NOT_ASCII = re.compile(rf"(?<![^{_SPACE}])[^{_SPACE}\x80-\U0010ffff]*[\x80-\U0010ffff][^{_SPACE}]*")
"""A run of characters that are not all ASCII, from its beginning to its end."""
_PIECES = re.compile(
    # Letters after an apostrophe may belong to the piece before it ("don't"), so they are not counted.
    r"(?<!['A-Za-z])[A-Za-z]+|[0-9]{1,3}"
    # A run that has none of these.
    rf"|(?<![^{_SPACE}])(?:'[A-Za-z]*|[^{_SPACE}A-Za-z0-9'])+(?![^{_SPACE}])"
)


_ENOUGH = 1 << 20
"""The count at which counting stops: no window is larger, and a text of 8 MB could otherwise take seconds."""


def least_tokens(text: str) -> int:
    """A lower bound of the tokens of a text, up to about a million; at most the number of its characters."""
    others = 0
    if not text.isascii():
        text, others = _NOT_ASCII.subn("", text)
    # One search over the whole text takes a tenth of the time of one for each run.
    return min(others + sum(1 for _ in islice(_PIECES.finditer(text), _ENOUGH)), _ENOUGH)


def about_tokens(text: str) -> int:
    """An estimate of the tokens of a text: a third more than the lower bound, or a quarter of its bytes if more."""
    return max(least_tokens(text) * 4 // 3, len(text.encode("utf-8", "surrogatepass")) // 4)


PICTURE_TOKENS = 4_225
"""The most tokens that a picture takes. The processor of Kimi K2.5 and K2.6 (beside their weights) shrinks a picture to
16,384 patches of 14 pixels, makes one token of four, and fills both sides up: 65 x 65. A page of 150 dpi takes 2,800.
That Cloudflare serves this processor is assumed, and so is the number for other models."""
