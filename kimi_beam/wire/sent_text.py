"""What is altered in texts before they are sent, as a service would not read it as text, and put back in answers."""

from __future__ import annotations

from kimi_beam.wire import control_tokens, data_uris


def sent_to_workers_ai(text: bytes) -> bytes:
    """A text, or JSON, as Workers AI gets it. Its length and all offsets stay the same."""
    return data_uris.mask(control_tokens.mask(text) if b">" in text else text)


def sent_elsewhere(text: bytes) -> bytes:
    """The same for a server that is not Cloudflare's, which takes no text for a picture."""
    return control_tokens.mask(text)


def may_be_altered(answer: str) -> bool:
    """Whether an answer may hold something that was altered."""
    return data_uris.may_be_masked(answer) or control_tokens.may_be_masked(answer)


def restored(answer: str, document: str) -> str:
    """An answer with the original of all that was altered.

    Args:
        answer: The text of the answer.
        document: All of the document that the model was shown.
    """
    return control_tokens.unmask(data_uris.unmask(answer, document), document)
