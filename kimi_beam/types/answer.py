"""What the model answered to one request, what that was billed, and what was done to it so that it can be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as billed.

    Example:
        >>> kb.Usage(prompt_tokens=900, completion_tokens=40) + kb.Usage(prompt_tokens=100, cached_tokens=80)
        Usage(prompt_tokens=1000, cached_tokens=80, completion_tokens=40)

    Attributes:
        prompt_tokens: Tokens read, cached ones included.
        cached_tokens: The part of `prompt_tokens` that was served from the prefix cache.
        completion_tokens: Tokens written, thinking included.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Adds field by field; `Usage()` is the zero."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """The model's answer to one request.

    Attributes:
        text: The content of the assistant's message.
        finish_reason: Why the model stopped (``stop``), None if the service does not say.
        created: Unix seconds at which the service made it, None if the service does not say.
        model: The model that the service says answered, None if it does not say.
    """

    text: str
    finish_reason: str | None
    created: int | None
    model: str | None


RepairKind = Literal[
    # of the text
    "byte_order_mark",
    "fence",
    "prose",
    "trailing_comma",
    "python_literal",
    "control_character",
    "nan",
    "wrapping",
    # by another request
    "asked_again",
    # of a value, by the schema (``coerce``)
    "number",
    "integer",
    "array_of_one",
    "enum",
    "date",
]
"""What is done to an answer so that it can be read: a closed set. A repair loses nothing that the model has written
inside its answer, and nothing is repaired that has two readings."""


@dataclass(frozen=True, slots=True)
class Repair:
    """One repair of an answer.

    Attributes:
        kind: What was done.
        path: The JSON Pointer of the value that was changed; None if the text was, or what stands around the answer.
        count: How often it was done.
    """

    kind: RepairKind
    path: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class Samples:
    """How far several answers for one document agree.

    Attributes:
        asked: How many answers the document was asked for.
        answers: How many of them are valid, and were voted on.
        disagreements: The JSON Pointers of the values on which not all agree, each with how many answers have the value
            that counts.
        left_out: How many items of lists were left out because most answers do not have them.
    """

    asked: int
    answers: int
    disagreements: Mapping[str, int]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class AnswerReport:
    """What is known of an answer beside its values.

    Attributes:
        parts: Of how many parts' answers it was put together; None for a document that was asked for whole.
        conflicts: The values that two parts state differently: each with its place in the answer (``at``), the value
            that was kept, the other one, and the characters of the text at which each part begins and ends.
        incomplete: Why the answer may lack something, one line each: rows that the text shows and the answer has not,
            or an equation of the schema (``x-check``) that is not fulfilled.
        repairs: What was done to the answer so that it could be read.
        samples: How far several answers agree; None for a document that was asked for once.
    """

    parts: int | None = None
    conflicts: tuple[Mapping[str, Any], ...] = ()
    incomplete: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()
    samples: Samples | None = None
