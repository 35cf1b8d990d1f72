"""Dead letters as documents that are run again: which of them, and what of their first run still counts. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import get_args

from kimi_beam.errors import ConfigError
from kimi_beam.results.answer_codes import ANSWERS
from kimi_beam.types import Code, DeadLetter, Document, Earlier, Stage

_AFTER_THE_ANSWER = ("parse", "validate", "type")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters are run again: the retryable ones, unless codes or stages are named.

    Those of the stage ``read`` never are: what could not be read is not in them. Neither are those that hold the
    beginning of their document only: the model would be asked for a part of it.

    Attributes:
        codes: Only these, retryable or not; empty for all.
        stages: Only these, retryable or not; empty for all.

    Raises:
        ConfigError: There is no such code or stage.
    """

    codes: Collection[str] = ()
    stages: Collection[str] = ()

    def __post_init__(self) -> None:
        for what, names, known in (("code", self.codes, get_args(Code)), ("stage", self.stages, get_args(Stage))):
            for name in names:
                if name not in known:
                    raise ConfigError(f"{what}: {name!r} is none of {', '.join(known)}")

    def takes(self, letter: DeadLetter) -> bool:
        """Whether a dead letter is among them."""
        failure = letter.failure
        if failure.stage == "read" or letter.truncated:
            return False
        if not self.codes and not self.stages:
            return failure.retryable
        return (not self.codes or failure.code in self.codes) and (not self.stages or failure.stage in self.stages)


def again(letter: DeadLetter) -> Document:
    """The document of a dead letter, to be run again.

    A bad answer is put aside: the document is asked for in the next round. Without an answer it is the same question as
    before, so that what is known of it, or in flight, is used.
    """
    failure = letter.failure
    has_answer = failure.stage in _AFTER_THE_ANSWER or failure.code in ANSWERS
    earlier = Earlier(letter.round + has_answer, letter.attempts - (letter.open is not None), letter.open)
    return replace(letter.document, failure=None, earlier=earlier)


def with_open_request(document: Document, request_id: str | None = None) -> Document:
    """The document once it is decided what becomes of its open request.

    Args:
        document: Which.
        request_id: The job that it is part of from now on, whose submits are counted with the job. None: it is asked
            anew, and the submit of its open request, whose answer nobody fetches, is counted with the document.
    """
    earlier = document.earlier
    if earlier.open is None:
        return document
    left = earlier.open.request_id != request_id
    return replace(document, earlier=Earlier(earlier.round, earlier.attempts + left))
