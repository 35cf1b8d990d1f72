"""Moments of a run, by what stands on disk: at each of them a run is killed, and started again (`faults`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kimi_beam.journal.files import Journal
from kimi_beam.journal.index import ANSWER, INTENT, TICKET
from kimi_beam.journal.records import ANSWERS_SUFFIX
from kimi_beam.output.dead_letters import SUFFIX as LETTERS  # type: ignore[attr-defined]
from kimi_beam.output.parquet import SUFFIX as ROWS


@dataclass(frozen=True)
class Standing:
    """What stands on disk.

    Attributes:
        intents: Documents whose submit is about to be made, or was made and its reply is not written down.
        tickets: Documents of jobs that the service has accepted, and whose answers are not written down.
        answers: Documents whose answers are written down.
        answers_begun: Whether a file of answers is being written.
        staged: Bytes of each file that waits for its name or is being written, by the end of its name.
        named: The ends of the names of the files that have theirs.
        has_summary: Whether the result is marked as finished.
    """

    intents: int
    tickets: int
    answers: int
    answers_begun: bool
    staged: dict[str, int]
    named: set[str]
    has_summary: bool

    @classmethod
    def of(cls, output: Path) -> Standing:
        """Looks at a run's directory, with the journal in it."""
        states = Counter[int]()
        if (output / "_journal").exists():  # `Journal` would make one
            journal = Journal(str(output / "_journal"))
            journal.refresh()
            states = journal.states()
        return cls(
            states[INTENT],
            states[TICKET],
            states[ANSWER],
            any(output.glob(f"_journal/*{ANSWERS_SUFFIX}.*")),
            {path.suffix: path.stat().st_size for path in output.glob(".staging-*/*")},
            {path.suffix for kind in ("extractions", "dead-letters") for path in output.glob(f"{kind}-*")},
            (output / "summary.json").exists(),
        )

    @property
    def in_flight(self) -> int:
        return self.intents + self.tickets


# `Command` sends fewer jobs at once than it has, so that some documents have answers before others are asked for.
MOMENTS: dict[str, Callable[[Standing], bool]] = {
    "intents_and_no_ticket": lambda on: on.intents > 0 and not on.tickets and not on.answers,
    "some_tickets": lambda on: on.intents > 0 and on.tickets > 0,
    "tickets_and_no_answer": lambda on: not on.intents and on.tickets > 0 and not on.answers,
    "answers_not_yet_written_down": lambda on: on.answers_begun and on.tickets > 0 and not on.answers,
    "some_answers": lambda on: on.answers > 0 and not on.answers_begun and not on.staged,
    "answers_and_other_tickets": lambda on: on.answers > 0 and on.tickets > 0 and not on.intents,
    "a_file_begun": lambda on: 0 in on.staged.values() and not on.in_flight,
    "a_file_whole_and_another_missing": lambda on: len(on.staged) == 1 and 0 not in on.staged.values(),
    "files_wait_for_their_names": lambda on: on.staged.keys() == {ROWS, LETTERS} and 0 not in on.staged.values(),
    "some_files_named": lambda on: len(on.named) == len(on.staged) == 1,
    "all_files_named_and_no_summary": lambda on: on.named == {ROWS, LETTERS} and not on.has_summary,
    "summary_written": lambda on: on.has_summary,
}
"""In the order of the work. Each is over when the next has begun, or soon after."""
