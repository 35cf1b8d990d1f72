"""Faults, made for real, and what is counted after each (`Figures`). A fault is a function of a moment and a place."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from command_processes import PATIENT, Command, ended
from door import Door
from harness import Outcome, read_dataset, receipts, run_extract
from moments import MOMENTS, Standing
from patience import HANGS
from scripted import error, reply

import kimi_beam as kb
from kimi_beam.emulator import Emulator
from kimi_beam.journal.files import Journal, contents
from kimi_beam.journal.index import INTENT
from kimi_beam.journal.records import Journaling, decode_submissions


@dataclass(frozen=True)
class Figures:
    """What a run, or a run and its repetition, came to.

    Attributes:
        documents: That came in.
        extractions: Rows of the Parquet.
        dead_letters: By code.
        doubles: Rows and dead letters beyond the first of each document.
        paid_twice: Payments beyond the first of each document, by the emulator's books.
        unknown: Documents that may have been paid for twice because nobody can know: a submit was made, and what the
            service said to it was not heard or not written down.
    """

    documents: int
    extractions: int
    dead_letters: dict[str, int]
    doubles: int
    paid_twice: int
    unknown: int = 0

    def check(self) -> Figures:
        assert self.doubles == 0, "a document left twice"
        assert self.extractions + sum(self.dead_letters.values()) == self.documents, "a document was lost"
        assert self.paid_twice <= self.unknown, "paid for again what was known to be paid for"
        return self


Fault = Callable[[int, Path], Figures]
"""Makes it happen at a moment, a whole number from 0 on, with all files in an empty directory."""


def _figures(outcome: Outcome, asked: Command | int, emulator: Emulator, unknown: int = 0) -> Figures:
    """What a result holds, held against what was asked for: a command's documents, or so many of `receipts`."""
    texts, blank = (asked, 0) if isinstance(asked, int) else (asked.documents, asked.blank)
    documents = texts + blank
    assert outcome.ids.keys() == {f"doc-{i}" for i in range(texts)} | {f"blank-{i}" for i in range(blank)}
    assert outcome.codes.get("empty_document", 0) == blank
    assert outcome.summary["documents"] == documents
    assert outcome.summary["extractions"] == len(outcome.rows)
    doubles = outcome.ids.total() - len(outcome.ids)
    paid = int(emulator.stats()["paid_twice"])
    return Figures(documents, len(outcome.rows), outcome.codes, doubles, paid, unknown)


# ------------------------------------------------------------------------------------------------ killed


def _doubtful(command: Command) -> int:
    journal = Journal(str(command.journal))
    journal.refresh()
    return journal.states()[INTENT]


def unheard(directory: Path) -> int:
    """Documents whose submits were about to be made more often than it is known what became of them."""
    times = Counter[bytes]()
    for path in directory.glob("*.submissions.json"):
        for submission in decode_submissions(path.read_bytes()):
            is_intent = submission.request_id is None and not submission.is_over
            times.update(dict.fromkeys(submission.keys, 1 if is_intent else -1))
    return sum(number for number in times.values() if number > 0)


def _again(command: Command, emulator: Emulator) -> Figures:
    """Runs a command again that was killed."""
    assert not (command.result / "summary.json").exists(), "it was done before it was killed"
    unknown = _doubtful(command)
    assert replace(command, dies_when="", file_size=0).run() == 0
    given_up = 0 if command.on_unknown_submit == "resubmit" else unknown
    figures = _figures(read_dataset(command.result), command, emulator, unknown - given_up)
    assert figures.dead_letters.get("unknown_submit", 0) == given_up
    return figures


def _killed(moment: str, seed: int, directory: Path, on_unknown_submit: str = "resubmit") -> Figures:
    """Kills a run at one of the `MOMENTS` by what stands on disk, and runs it again."""
    with Emulator(latency=0.1, seed=seed) as emulator:
        command = Command(
            directory,
            emulator.base_url,
            blank=3,
            max_in_flight=2,
            dies_when=moment,
            on_unknown_submit=on_unknown_submit,
        )
        assert command.run() == -signal.SIGKILL, "the moment never came"
        assert MOMENTS[moment](Standing.of(command.result)), "it was killed at another moment"
        if moment == "summary_written":
            return _again_after_the_summary(command, emulator)
        return _again(command, emulator)


def _again_after_the_summary(command: Command, emulator: Emulator) -> Figures:
    """The result is whole already: it is not replaced unasked, and when it is, nothing is paid for."""
    figures = _figures(read_dataset(command.result), command, emulator)
    submits = emulator.stats()["submits"]
    alive = replace(command, dies_when="")
    assert alive.run() == 1, "a finished result was replaced"
    assert _figures(read_dataset(command.result), command, emulator) == figures
    assert replace(alive, overwrite=True).run() == 0
    assert emulator.stats()["submits"] == submits
    return _figures(read_dataset(command.result), command, emulator)


def killed_while_it_polls(moment: int, directory: Path) -> Figures:
    with Emulator(latency=2.0, seed=moment) as emulator:
        command = Command(directory, emulator.base_url)
        victim = command.start()
        _wait_for(lambda: emulator.stats()["polls"] >= 4 + 4 * moment)
        victim.kill()
        assert ended(victim) == -9
        assert _doubtful(command) == 0
        return _again(command, emulator)


def worker_process_killed(moment: int, directory: Path) -> Figures:
    """One of two. The job fails; the next does the rest."""
    with Emulator(latency=2.0, seed=moment) as emulator:
        options = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
        command = Command(directory, emulator.base_url, options=options)
        victim = command.start()
        _wait_for(lambda: emulator.stats()["submits"] >= 1 + moment % 4)
        assert victim.pid is not None
        subprocess.run(["kill", "-KILL", str(_workers(victim.pid)[moment % 2])], check=True)
        assert ended(victim) == 1
        return _again(command, emulator)


def _workers(pid: int) -> list[int]:
    """The worker processes of a run."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            words = Path(f"/proc/{child}/cmdline").read_bytes()
            found += [child] if b"sdk_worker_main" in words and not words.startswith(b"/bin/sh") else _workers(child)
    return sorted(found)


def _wait_for(condition: Callable[[], bool], within: float = HANGS) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.005)


# ------------------------------------------------------------------------------------------------ the service


COUNT = 120
OUTAGE = 2.0
"""Seconds; ten times the longest wait between two polls."""


def _run(directory: Path, url: str, **more: Any) -> Outcome:
    settings = {"polling": PATIENT, "journal": str(directory / "journal"), **more}
    return run_extract(
        receipts(COUNT), url, directory / "out", batching=kb.Batching(max_items=5), max_in_flight=8, **settings
    )


def _through(
    moment: int,
    directory: Path,
    trouble: Callable[[Door], Any],
    polling: kb.Polling = PATIENT,
) -> Figures:
    """Something is wrong for a while, from an early submit on or from a poll."""

    def work() -> None:
        counter, count = ("polls", 3 * moment) if moment % 2 else ("submits", 2 * moment)
        _wait_for(lambda: emulator.stats()[counter] >= count)
        with trouble(way):
            time.sleep(OUTAGE)

    with Emulator(latency=0.3, seed=moment) as emulator, Door(emulator.base_url) as way:
        thread = threading.Thread(target=work)
        thread.start()
        outcome = _run(directory, way.base_url, polling=polling)
        assert not thread.is_alive(), "it was done before the trouble was over"
        thread.join()
        return _figures(outcome, COUNT, emulator, way.cut * 5)


@contextlib.contextmanager
def _shut(door: Door) -> Iterator[None]:
    door.shut()
    yield
    door.open()


def _says(content: bytes) -> Callable[[Door], Any]:
    @contextlib.contextmanager
    def trouble(door: Door) -> Iterator[None]:
        door.says = content
        yield
        door.says = None

    return trouble


def service_away(moment: int, directory: Path) -> Figures:
    """Connections are refused for a while, and those that stand are cut."""
    return _through(moment, directory, _shut)


def service_says_500(moment: int, directory: Path) -> Figures:
    return _through(moment, directory, _says(error(8005, 500)))


def edge_says_502(moment: int, directory: Path) -> Figures:
    """Without an envelope: a submit may have been accepted behind it, so it is repeated once, and not soon."""
    return _through(moment, directory, _says(reply(b"<html>Bad gateway</html>", 502)), replace(PATIENT, ceiling=2.0))


def drops_after_it_accepted(moment: int, directory: Path) -> Figures:
    with Emulator(latency=0.2, seed=moment, faults="drop_after_accept=0.3") as emulator:
        outcome = _run(directory, emulator.base_url)
        dropped = emulator.stats()["faults"]["drop_after_accept"] * 5
        assert dropped, "nothing was dropped"
        return _figures(outcome, COUNT, emulator, dropped)


def drops_after_it_accepted_and_what_is_doubtful_given_up(moment: int, directory: Path) -> Figures:
    with Emulator(latency=0.2, seed=moment, faults="drop_after_accept=0.3") as emulator:
        journal = Journaling(str(directory / "journal"), "dead-letter")
        figures = _figures(_run(directory, emulator.base_url, journal=journal), COUNT, emulator)
        dropped = emulator.stats()["faults"]["drop_after_accept"] * 5
    assert dropped, "nothing was dropped"
    assert figures.dead_letters == {"unknown_submit": dropped}
    return figures


def tickets_expire(moment: int, directory: Path) -> Figures:
    """5504: submitted again once."""
    with Emulator(latency=0.2, seed=moment, faults="expired=0.5") as emulator:
        outcome = _run(directory, emulator.base_url)
        assert emulator.stats()["submits"] > COUNT / 5, "none was submitted again"
        figures = _figures(outcome, COUNT, emulator)
    assert figures.dead_letters.keys() == {"expired"}
    return figures


def jobs_never_end(moment: int, directory: Path) -> Figures:
    with Emulator(latency=0.2, seed=moment, faults="never_ends=0.3") as emulator:
        outcome = _run(directory, emulator.base_url, polling=replace(PATIENT, deadline=1.0))
        assert emulator.stats()["submits"] == COUNT / 5
        figures = _figures(outcome, COUNT, emulator)
    assert figures.dead_letters.keys() == {"deadline"}
    return figures


def jobs_never_end_and_are_submitted_again(moment: int, directory: Path) -> Figures:
    with Emulator(latency=0.2, seed=moment, faults="never_ends=0.5") as emulator:
        polling = replace(PATIENT, deadline=1.0, on_deadline="resubmit")
        outcome = _run(directory, emulator.base_url, polling=polling)
        never = emulator.stats()["faults"]["never_ends"]
        figures = _figures(outcome, COUNT, emulator)
    assert 0 < sum(figures.dead_letters.values()) < never * 5, "what was submitted again had no second chance"
    return figures


# ------------------------------------------------------------------------------------------------ the disk


def file_cannot_grow(moment: int, directory: Path) -> Figures:
    """The kernel refuses what goes beyond a size: in the journal first, in the rows where that is larger."""
    with Emulator(latency=0.1, seed=moment) as emulator:
        command = Command(directory, emulator.base_url, file_size=(2_000, 6_000, 11_000, 13_000, 20_000)[moment % 5])
        assert command.run() == 1, "the run did not notice"
        assert not list(command.result.glob(".staging-*/*")), "a file that is not whole was left behind"
        return _again(command, emulator)


@contextlib.contextmanager
def small_disk(directory: Path, size: int) -> Iterator[Path]:
    """A filesystem of its own, so many bytes large.

    Raises:
        PermissionError: Only root may make one.
    """
    directory.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(directory)], capture_output=True, check=False
    )
    if made.returncode:
        raise PermissionError(made.stderr.decode())
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def disk_full(moment: int, directory: Path) -> Figures:
    sizes = [16 * 1024 + 12 * 1024 * step for step in range(8)]
    with small_disk(directory / "disk", sizes[moment % 8]) as disk, Emulator(latency=0.1, seed=moment) as emulator:
        command = Command(directory, emulator.base_url, output=disk / "out")
        assert command.run() == 1, "the run did not notice"
        assert not list(command.result.glob(".staging-*/*")), "a file that is not whole was left behind"
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        return _again(command, emulator)


# ------------------------------------------------------------------------------------------------ two at once


def two_runs(moment: int, directory: Path) -> Figures:
    """Of the same command, a moment apart. Of two at the very same time both may be refused."""
    with Emulator(latency=0.5, seed=moment) as emulator:
        command = Command(directory, emulator.base_url)
        runs = [command.start()]
        time.sleep(0.02 * moment)
        runs.append(command.start())
        codes = sorted(ended(run) for run in runs)
        assert codes in ([0, 1], [1, 1]), f"none was refused: {codes}"
        if codes == [1, 1]:
            assert command.run() == 0
        return _figures(read_dataset(command.result), command, emulator)


def two_runs_that_both_hold_the_lease(moment: int, directory: Path) -> Figures:
    with Emulator(latency=0.5, seed=moment) as emulator:
        command = Command(directory, emulator.base_url, without_lease=True)
        runs = [command.start()]
        time.sleep(0.1 * moment)
        runs.append(command.start())
        codes = sorted(ended(run) for run in runs)
        assert codes[0] == 0, "neither came to its end"
        again = int(contents(str(command.journal))["  submitted again"])
        figures = _figures(read_dataset(command.result), command, emulator, again)
    assert figures.paid_twice == again, "it was not counted"
    return figures


KILLED: dict[str, Fault] = {
    **{f"killed_at_{name}": partial(_killed, name) for name in MOMENTS},
    **{
        f"killed_at_{name}_and_what_is_doubtful_given_up": partial(_killed, name, on_unknown_submit="dead-letter")
        for name in ("intents_and_no_ticket", "some_tickets")
    },
}
"""Its moment is a matter of its name; the number is only the seed."""

FAULTS: dict[str, Fault] = KILLED | {
    f.__name__: f
    for f in (
        *(killed_while_it_polls, worker_process_killed),
        *(service_away, service_says_500, edge_says_502),
        *(drops_after_it_accepted, drops_after_it_accepted_and_what_is_doubtful_given_up),
        *(tickets_expire, jobs_never_end, jobs_never_end_and_are_submitted_again),
        *(file_cannot_grow, disk_full),
        *(two_runs, two_runs_that_both_hold_the_lease),
    )
}
