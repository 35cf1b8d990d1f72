"""Alters control tokens such as ``<|im_end|>`` in texts that are sent; restores them in answers.

Servers that render a chat into one string and encode that string read control tokens in any message as their own, so
that a document could end its message and begin one of another role (observed: huggingface/transformers 29279 and 47822,
vllm-project/vllm 31735; Kimi's tokens have this form, and its tokenizer allows them all). Whether Workers AI does is
not known. So the first bar is sent as an exclamation mark. This keeps all lengths and offsets; the journal's key is
made from the original text. If an answer repeats the altered token, it gets its bar back.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(rb"<\|(?=[^|<>\s\"\\]{1,60}\|>)")
_SENT_TOKEN = re.compile(r"<!(?=[^|<>\s\"\\]{1,60}\|>)")


def mask(text: bytes) -> bytes:
    """Replaces the first bar of each control token, in a text or in JSON."""
    # To search for one character takes a tenth of the time of a search for two, and few texts hold both of them.
    return _TOKEN.sub(b"<!", text) if b">" in text and b"|" in text and b"|>" in text else text


def may_be_masked(answer: str) -> bool:
    """Whether an answer may hold an altered token."""
    return ">" in answer and "|>" in answer


def unmask(answer: str, document: str) -> str:
    """Restores the bars of altered tokens.

    Args:
        answer: The text of the answer.
        document: The text of the document. If it holds the altered form itself, the answer is left unchanged.
    """
    return answer if _SENT_TOKEN.search(document) else _SENT_TOKEN.sub("<|", answer)
