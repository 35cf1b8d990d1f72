"""What earlier runs have done with a document, so that what they paid for is not paid for again."""

from __future__ import annotations

from dataclasses import dataclass

from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.failure import Code, Failure
from kimi_beam.types.ticket import OpenRequest


@dataclass(frozen=True, slots=True)
class EarlierPart:
    """What earlier runs have done with one part of a document that was asked for in parts.

    Attributes:
        start: Its first place in the document (`Part.start`).
        end: The place behind its last one.
        answer: The model's answer, which is not asked for again; None if there is none.
        round: `Earlier.round` of the part.
        open: The request whose answer is still to be fetched, None if there is none.
    """

    start: int
    end: int
    answer: Completion | None = None
    round: int = 0
    open: OpenRequest | None = None


@dataclass(frozen=True, slots=True)
class RefusedAnswer:
    """The last answer for a document, which goes back to the model with what is wrong with it.

    Attributes:
        failure: Why it was refused; its ``raw`` is the answer.
        problems: What is wrong, each with the JSON Pointer of the value; the empty pointer is the whole answer.
        times: How often the document was asked for again in this run, this time included.
        usage: The tokens of its answers so far.
        attempts: The submits that the service saw for these.
        before: The codes of the answers that were refused before the last one, in their order.
        kept: The answer whose right values stay: None if it is the last one, unless that is valid, with wrong sums.
        first: The text of the first answer that was JSON, if that is neither the last one nor `kept`; else None.
    """

    failure: Failure
    problems: tuple[tuple[str, str], ...]
    times: int
    usage: Usage
    attempts: int
    before: tuple[Code, ...] = ()
    kept: Completion | None = None
    first: str | None = None

    @property
    def codes(self) -> tuple[Code, ...]:
        """The codes of all answers that were refused, in their order."""
        return (*self.before, self.failure.code)


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier runs have done with a document.

    Attributes:
        round: How many bad answers were discarded, each so that the model is asked anew.
        attempts: Submits that the service saw for it, without that of `open`, which counts once its answer is fetched.
        open: The request whose answer is still to be fetched, None if there is none.
        parts: Its parts, in the order of the text, if it was asked for in parts and one of them failed; else empty.
        refused: The answer of this run that goes back to the model; None for a document that is asked for as it is.
        sample: Which further answer for the document is asked for, from 1 on; 0 for the first one.
    """

    round: int = 0
    attempts: int = 0
    open: OpenRequest | None = None
    parts: tuple[EarlierPart, ...] = ()
    refused: RefusedAnswer | None = None
    sample: int = 0

    @property
    def is_asked_otherwise(self) -> bool:
        """Whether the document is asked for in other words, or with other settings, than most are."""
        return self.refused is not None or self.sample > 0

    @property
    def question(self) -> int:
        """Tells the questions about one document apart, by which the journal knows their answers."""
        return self.round + (self.sample << 64)


NOTHING_EARLIER = Earlier()
