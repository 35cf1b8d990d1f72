"""Redrive: chooses dead letters and makes documents of them again, with the attempts, round and open request so far."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import get_args

from kimi_beam.errors import ConfigError
from kimi_beam.results.answer_codes import has_answer
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document
from kimi_beam.types.earlier_runs import Earlier
from kimi_beam.types.failure import Code, Stage


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters are run again: the retryable ones, unless codes or stages are named.

    Those of the stage ``read`` are never run again, because they do not hold the document. Neither are those that hold
    only the beginning of it, because the model would be shown a part.

    Attributes:
        codes: The codes that are run again, retryable or not. Empty: all codes.
        stages: The stages that are run again, retryable or not. Empty: all stages.

    Raises:
        ConfigError: There is no such code or stage.
    """

    codes: Collection[str] = ()
    stages: Collection[str] = ()

    def __post_init__(self) -> None:
        for kind, names, allowed in (("code", self.codes, get_args(Code)), ("stage", self.stages, get_args(Stage))):
            for name in names:
                if name not in allowed:
                    raise ConfigError(f"{kind}: {name!r} is none of {', '.join(allowed)}")

    def takes(self, letter: DeadLetter) -> bool:
        """Whether a dead letter is run again."""
        failure = letter.failure
        if failure.stage == "read" or letter.truncated:
            return False
        if not self.codes and not self.stages:
            return failure.retryable
        return (not self.codes or failure.code in self.codes) and (not self.stages or failure.stage in self.stages)


def document_of(letter: DeadLetter) -> Document:
    """The document of a dead letter, to be run again.

    After a bad answer it is asked for in the next round, so that the journal does not give the same answer. Without an
    answer it stays in its round, so that an answer in the journal, or a request in flight, is used. If it was asked for
    in parts, only those without an answer are asked for again.
    """
    attempts = letter.attempts - (letter.open is not None)
    earlier = Earlier(letter.round + has_answer(letter.failure), attempts, letter.open, letter.document.earlier.parts)
    return replace(letter.document, failure=None, earlier=earlier)
