"""The most that a request may cost, which a budget reserves before it is sent.

A text has at most as many tokens as it has bytes in UTF-8, by whatever vocabulary is made of bytes, as Kimi's is; real
texts have a fifth to a half of that. JSON, by which a request is measured, only makes a text longer. A service may show
the model a schema in a wider spelling than it is sent, so its bytes count twice. The answer counts with its limit,
which thinking is a part of. Nobody pays for more than the model's window.
"""

from __future__ import annotations

from collections.abc import Sequence

from kimi_beam.columnar import Documents
from kimi_beam.request import correction
from kimi_beam.request.context_window import PICTURE_TOKENS
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import jsontext
from kimi_beam.service.models import MODELS
from kimi_beam.service.prices import Price
from kimi_beam.service.spending import nanodollars
from kimi_beam.types.document import Document

_MARKS = 200
"""The most tokens of the marks that a chat template puts around messages, which no request spells out."""
_CORRECTION = 1_000
"""Bytes that a correction has beside its share of the first request, at most, as JSON."""


class HighestCost:
    """The most that requests may cost, in billionths of a dollar.

    Args:
        prompt: How documents are asked for.
        price: The price of the model.

    Attributes:
        price: The price of the model.
    """

    def __init__(self, prompt: Prompt, price: Price) -> None:
        self._prompt, self.price = prompt, price
        self._prompt_price = max(price.prompt, price.cached)
        self._answer_price = price.completion
        self._limit = prompt.answer_limit
        self._around = len(jsontext.dumps(prompt.schema.response_format)) + _MARKS
        model = None if prompt.is_elsewhere else MODELS.get(prompt.model)
        self._window = None if model is None else model.context

    def of_batch(self, documents: Documents, sizes: Sequence[int]) -> list[int]:
        """The most that each request of a batch may cost.

        Args:
            documents: The documents. Where one is a reference to its file, all bytes of its request count as text.
            sizes: The bytes of each request without a correction, as packing measures them.
        """
        amounts = [self._cost(size, self._limit) for size in sizes]
        for index, document in documents.others.items():
            amounts[index] = self.of_document(document, sizes[index])
        return amounts

    def of_earlier(self, size: int) -> int:
        """The most that a request of an earlier run may cost, of which no more than the bytes are known.

        Args:
            size: The bytes of the request without a correction.
        """
        return self._cost(_corrected(size), self._prompt.answer_limit_after(["truncated"]))

    def of_document(self, document: Document, size: int | None = None, turns: Sequence[bytes] = ()) -> int:
        """The most that the request for a document may cost.

        Args:
            document: The document.
            size: The bytes of its request without a correction. None: measured here, for which its text must be there.
            turns: The messages that follow it, as JSON.
        """
        prompt = self._prompt.for_parts if document.part is not None else self._prompt
        if size is None:
            size = prompt.overhead + prompt.shown(document).size
        refused, limit = document.earlier.refused, self._limit
        if refused is not None or document.part is not None:
            limit = prompt.answer_limit_after(refused.codes if refused is not None else ())
        if refused is not None:
            size = _corrected(size)
        pictures = sum(map(len, document.images))
        text = max(0, size - pictures) + sum(map(len, turns))
        return self._cost(text + PICTURE_TOKENS * document.picture_count, limit)

    def _cost(self, prompt_tokens: int, answer_tokens: int) -> int:
        tokens = prompt_tokens + self._around
        if self._window is not None:
            tokens = min(tokens, self._window)
        return nanodollars((tokens * self._prompt_price + answer_tokens * self._answer_price) / 1e6)


def _corrected(size: int) -> int:
    """The most bytes of a request with a correction. As JSON, a text may have twice its bytes."""
    return size + 2 * int(size * correction.SHARE) + _CORRECTION
