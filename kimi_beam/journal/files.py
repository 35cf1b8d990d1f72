"""The files of a journal, on any filesystem of Beam's: unique names, written aside and renamed, never rewritten."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone
from typing import TypeVar

from apache_beam.io.filesystem import BeamIOError, CompressionTypes

from kimi_beam.errors import InputError, OutputError
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import Found, is_local, is_private, listing, make_private, output
from kimi_beam.files.whole_files import create_whole, make_directory, write_whole
from kimi_beam.journal import records as journal
from kimi_beam.journal.index import ANSWER, INTENT, NOTHING, TICKET, Entry, Index, Record
from kimi_beam.journal.records import ANSWERS_SUFFIX, SUBMISSIONS_SUFFIX, Answer, Answers, JournalError, Submission
from kimi_beam.service.per_process import PerProcess

T = TypeVar("T")

_ASIDE = ".tmp"
_DIGITS = 20
"""Of the nanoseconds that the name of a file begins with."""
_BLOCK = 4096
_READ_AT_ONCE = 16
"""Files of a remote journal."""
_CACHED_FILES = 8
"""Files of answers that are held decoded: documents that were answered together are mostly asked for together."""


class Journal:
    """One directory of records, with the index of what it holds. Safe to use from several threads.

    Args:
        directory: Created where it is missing.

    Raises:
        OutputError: The directory cannot be written.
    """

    def __init__(self, directory: str) -> None:
        self.directory = output(directory)
        self._lock = threading.RLock()
        self._index = Index()
        self._files: list[str] = []
        self._known: set[str] = set()
        self._submissions: OrderedDict[int, list[Submission]] = OrderedDict()
        self._answers: OrderedDict[int, Answers] = OrderedDict()
        try:
            make_private(self.directory)
            if not is_local(self.directory):
                make_directory(self.directory)
            # Files in a directory that others may look into are for them too: a group may share a journal.
            self._mode = 0o600 if is_private(self.directory) else None
        except (OSError, BeamIOError, ValueError) as e:
            raise OutputError(f"cannot write the journal {self.directory}: {e}") from None

    def refresh(self) -> None:
        """Reads what others have written since the last time.

        Raises:
            JournalError: A file is damaged, or of a version that is not known.
        """
        with self._lock:
            for _ in self._news(found.path for found in listing(self.directory)):
                pass

    def look_up(self, keys: Sequence[bytes]) -> list[Entry | None]:
        """The latest record of each key, None where there is none."""
        with self._lock:
            return self._index.look_up(keys)

    def states(self) -> Counter[int]:
        """How many documents stand how."""
        with self._lock:
            return self._index.states()

    def submission(self, entry: Entry) -> Submission:
        """The submission that an entry stands for."""
        with self._lock:
            return _cached(self._submissions, entry.file, self._read_submissions)[entry.record]

    def answer(self, entry: Entry) -> Answer:
        """The answer that an entry stands for."""
        with self._lock:
            return _cached(self._answers, entry.file, self._read_answers).answer_at(entry.position)

    def answers(self, entries: Sequence[Entry]) -> Answers:
        """The answers that some entries stand for."""
        with self._lock:
            # Most of a batch were answered together; the others of a file are looked up while it is held.
            files = {file: _cached(self._answers, file, self._read_answers) for file in {e.file for e in entries}}
        return Answers.gathered([(files[entry.file], entry.position) for entry in entries])

    def write_submissions(self, submissions: Sequence[Submission]) -> None:
        """Writes one file, whole or not at all."""
        if submissions:
            path = self._write(journal.encode_submissions(submissions), SUBMISSIONS_SUFFIX)
            with self._lock:
                self._add(path, _of_submissions(submissions, len(self._files)))

    def reserve_room(self, submissions: Sequence[Submission]) -> str:
        """Takes the room that the tickets of submissions will need, so that a disk is full before they are made.

        Returns:
            What to give to `free_room` before the tickets are written; empty where no room is held.
        """
        if not submissions or not is_local(self.directory):
            return ""
        path: str = FileSystems.join(
            self.directory, f"{time.time_ns():0{_DIGITS}d}-{uuid.uuid4().hex[:12]}.room{_ASIDE}"
        )
        with create_whole(path, mode=self._mode) as f:
            # Each ticket has a file, and files take whole blocks. Nothing that a filesystem could compress.
            f.write(os.urandom(sum(len(journal.encode_submissions([s])) + 2 * _BLOCK for s in submissions)))
        return path

    def free_room(self, path: str) -> None:
        """Gives it back."""
        with contextlib.suppress(BeamIOError, OSError):
            FileSystems.delete([path])

    def write_answers(self, answers: Answers) -> None:
        """Writes one file, whole or not at all."""
        if answers.keys:
            path = self._write(journal.encode_answers(answers), ANSWERS_SUFFIX)
            with self._lock:
                self._add(path, _of_answers(answers.keys, answers.answered(), _time_of(path), len(self._files)))

    # -------------------------------------------------------------------------------------------- files

    def _write(self, content: bytes, suffix: str) -> str:
        # Named by time, so that a listing is in order; records of answers have no time of their own.
        name = f"{time.time_ns():0{_DIGITS}d}-{uuid.uuid4().hex[:12]}{suffix}"
        path: str = FileSystems.join(self.directory, name)
        if FileSystems.writes_whole(path):
            write_whole(path, content)
            return path
        with create_whole(path + _ASIDE, mode=self._mode) as f:
            f.write(content)
        FileSystems.rename([path + _ASIDE], [path])
        return path

    def _news(self, paths: Iterable[str]) -> Iterator[list[Submission]]:
        """Takes in the files that are not known yet, in their order; the submissions in each, if any."""
        ours = (path for path in paths if path.endswith((SUBMISSIONS_SUFFIX, ANSWERS_SUFFIX)))
        names = [path for path in ours if path not in self._known]
        for path, content in zip(names, _contents(names), strict=True):
            number, submissions = len(self._files), list[Submission]()
            try:
                if path.endswith(SUBMISSIONS_SUFFIX):
                    submissions = journal.decode_submissions(content)
                    records = _of_submissions(submissions, number)
                else:
                    records = _of_answers(*journal.decode_answer_keys(content), _time_of(path), number)
            except JournalError as e:
                raise JournalError(f"the journal's file {path} is {e}") from None
            self._add(path, records)
            yield submissions

    def submitted_again(self) -> int:
        """Reads what is new, and counts the documents of which the service has accepted more than one submit.

        Each of them may have been paid for twice. Only for a journal that has not been read yet.

        Raises:
            JournalError: See `refresh`.
        """
        times: Counter[bytes] = Counter()
        with self._lock:
            for submissions in self._news(found.path for found in listing(self.directory)):
                for submission in submissions:
                    if submission.request_id:
                        times.update(submission.keys)
        return sum(number > 1 for number in times.values())

    def _add(self, path: str, records: Iterable[Record]) -> None:
        for record in records:
            self._index.add(record)
        self._files.append(path)
        self._known.add(path)

    def _read_submissions(self, file: int) -> list[Submission]:
        return journal.decode_submissions(_bytes(self._files[file]))

    def _read_answers(self, file: int) -> Answers:
        return journal.decode_answers(_bytes(self._files[file]))


def _bytes(path: str) -> bytes:
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as f:
        content: bytes = f.read()
    return content


def _contents(paths: Sequence[str]) -> Iterator[bytes]:
    """What is in some files, in their order; of a store whose requests take their time, several at once."""
    if not paths or is_local(paths[0]):
        yield from map(_bytes, paths)
        return
    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        waiting = deque[Future[bytes]]()
        for path in paths:
            waiting.append(pool.submit(_bytes, path))
            if len(waiting) > 2 * _READ_AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _of_submissions(submissions: Sequence[Submission], file: int) -> list[Record]:
    return [
        Record(
            NOTHING if submission.is_over else INTENT if submission.request_id is None else TICKET,
            submission.at,
            file,
            number,
            dict(zip(submission.keys, range(len(submission.keys)), strict=True)),
        )
        for number, submission in enumerate(submissions)
    ]


def _of_answers(keys: Sequence[bytes], answered: Sequence[bool], at: float, file: int) -> list[Record]:
    if all(answered):
        return [Record(ANSWER, at, file, 0, dict(zip(keys, range(len(keys)), strict=True)))] if keys else []
    rows: tuple[dict[bytes, int], dict[bytes, int]] = ({}, {})
    for row, (key, has) in enumerate(zip(keys, answered, strict=True)):
        rows[has][key] = row
    states = ((NOTHING, rows[False]), (ANSWER, rows[True]))
    return [Record(state, at, file, 0, positions) for state, positions in states if positions]


def _cached(cache: OrderedDict[int, T], number: int, read: Callable[[int], T]) -> T:
    if number not in cache:
        cache[number] = read(number)
        if len(cache) > _CACHED_FILES:
            cache.popitem(last=False)
    cache.move_to_end(number)
    return cache[number]


def _time_of(path: str) -> float:
    digits = FileSystems.split(path)[1].partition("-")[0]
    return int(digits) / 1e9 if digits.isdecimal() and len(digits) <= _DIGITS else 0.0


# ------------------------------------------------------------------------------------------------ looking after it


def existing(directory: str) -> list[Found]:
    """The files of a journal that is there.

    Raises:
        InputError: It is not.
    """
    found = _records(directory)
    if not found:
        raise InputError(f"{output(directory)} holds no journal (a run with --emulator or --no-journal keeps none)")
    return found


def _records(directory: str) -> list[Found]:
    try:
        found = listing(output(directory))
    except (OSError, BeamIOError, ValueError) as e:
        raise InputError(f"cannot look into {directory}: {' '.join(str(e).split())[:300]}") from None
    return [file for file in found if file.path.endswith((SUBMISSIONS_SUFFIX, ANSWERS_SUFFIX))]


def contents(directory: str) -> dict[str, int | str]:
    """What a journal holds, for a person: counts of documents by their latest record, files, bytes, and their span.

    Raises:
        InputError: There is no journal.
        JournalError: A file is damaged, or of a version that is not known.
    """
    files = existing(directory)
    journal_ = Journal(directory)
    submitted_again = journal_.submitted_again()
    states = journal_.states()
    first, last = (datetime.fromtimestamp(_time_of(files[i].path), timezone.utc) for i in (0, -1))
    return {
        "documents": sum(states.values()),
        "  answered": states[ANSWER],
        "  in flight": states[TICKET],
        "  doubtful": states[INTENT],
        "  unanswered": states[NOTHING],
        "  submitted again": submitted_again,
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "oldest": first.isoformat(timespec="seconds"),
        "newest": last.isoformat(timespec="seconds"),
    }


def forget(directory: str, *, older_than: float, dry_run: bool = False, missing_ok: bool = False) -> list[str]:
    """Removes the files that were written before a time. Nobody may be using the journal: hold its lease.

    Args:
        directory: The journal's.
        older_than: Unix seconds.
        dry_run: Only say which.
        missing_ok: Whether there need be no journal yet.

    Returns:
        Their paths.

    Raises:
        InputError: There is no journal.
    """
    files = _records(directory) if missing_ok else existing(directory)
    old = [file.path for file in files if _time_of(file.path) < older_than]
    # And what was never finished, by who died or met a full disk.
    old += [file.path for file in listing(output(directory)) if _is_litter(file.path, older_than)]
    if old and not dry_run:
        FileSystems.delete(old)
        _journals.forget(output(directory))
    return old


def _is_litter(path: str, older_than: float) -> bool:
    return path.endswith(_ASIDE) and _time_of(path) < older_than


# ------------------------------------------------------------------------------------------------ one of a process

_journals = PerProcess[Journal]()


def open_journal(directory: str) -> Journal:
    """The journal of this process for a directory: its index is read once."""
    return _journals.get(output(directory), lambda: Journal(directory))
