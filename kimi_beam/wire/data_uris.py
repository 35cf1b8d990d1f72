"""Texts that look like pictures: the beginning of a data URI is made harmless in what is sent, and put right again.

Workers AI was seen to take a plain text that holds ``data:image/`` for a picture, and to refuse the request with 8006
(observed: cloudflare/ai 605, opencode 35753 and 35879; K2.6 and K2.7). So the colon goes out as a semicolon. Lengths
and offsets stay as they are, in characters and in bytes, and with them the size of a request and the journal's key,
which are those of the text itself. Where an answer repeats such a beginning, its colon comes back.
"""

from __future__ import annotations

import re

_BEGINNING = re.compile(rb"(data):(?=image/)", re.IGNORECASE)
_SENT_BEGINNING = re.compile(r"(data);(?=image/)", re.IGNORECASE)


def harmless(text: bytes) -> bytes:
    """A text, or JSON, in which no data URI of a picture begins."""
    # In small letters a fixed text is looked for, which takes a tenth of the time of a search that ignores case.
    return _BEGINNING.sub(rb"\1;", text) if b"data:image/" in text.lower() else text


def is_changed(answer: str) -> bool:
    """Whether an answer may repeat such a beginning as it was sent."""
    return "data;image/" in answer.lower()


def put_right(answer: str, shown: str) -> str:
    """An answer with the beginnings of data URIs as the document has them.

    Args:
        answer: The model's own text.
        shown: What the document says, as far as it is known here. Where it holds the changed form itself, the answer is
            left alone.
    """
    return answer if _SENT_BEGINNING.search(shown) else _SENT_BEGINNING.sub(r"\1:", answer)
