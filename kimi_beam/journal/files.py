"""The files of a journal, on any filesystem that Beam knows. Each has a unique name, appears complete, and is final."""

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
from kimi_beam.files.local_listing import Found
from kimi_beam.files.paths import absolute, is_local, is_private, listing, make_private, output
from kimi_beam.files.whole_files import create_whole, make_directory, write_whole
from kimi_beam.journal import records
from kimi_beam.journal.index import ANSWER, INTENT, NOTHING, TICKET, Entry, Index, Record
from kimi_beam.journal.records import ANSWERS_SUFFIX, SUBMISSIONS_SUFFIX, Answer, Answers, JournalError, Submission
from kimi_beam.service.per_process import PerProcess

T = TypeVar("T")

_ASIDE = ".tmp"
_DIGITS = 20
"""The digits of the time, in nanoseconds, with which the name of a file begins."""
_BLOCK = 4096
_READ_AT_ONCE = 16
"""How many files of a remote journal are read at once."""
_CACHED_FILES = 8
"""Decoded files in memory. A few are enough, because documents that were answered together are looked up together."""


class Journal:
    """A directory of records, and the index of the latest record of each document. Safe to use from several threads.

    Args:
        directory: It is created if it is missing.

    Raises:
        OutputError: The directory cannot be written.
    """

    def __init__(self, directory: str) -> None:
        self.directory = output(directory)
        self._lock = threading.RLock()
        self._index = Index()
        self._files: list[str] = []
        self._read_paths: set[str] = set()
        self._submissions: OrderedDict[int, list[Submission]] = OrderedDict()
        self._answers: OrderedDict[int, Answers] = OrderedDict()
        try:
            make_private(self.directory)
            if not is_local(self.directory):
                make_directory(self.directory)
            # In a directory that only its owner may look into, files get the same permissions. In any other the umask
            # decides, because a group of users may share the journal.
            self._mode = 0o600 if is_private(self.directory) else None
        except (OSError, BeamIOError, ValueError) as e:
            raise OutputError(f"cannot write the journal {self.directory}: {e}") from None

    def refresh(self) -> None:
        """Reads the files that other processes have written since the last time.

        Raises:
            JournalError: A file is damaged, or of an unknown version.
        """
        with self._lock:
            for _ in self._read_new(found.path for found in listing(self.directory)):
                pass

    def look_up(self, keys: Sequence[bytes]) -> list[Entry | None]:
        """The latest record of each key, None where there is none."""
        with self._lock:
            return self._index.look_up(keys)

    def states(self) -> Counter[int]:
        """How many documents have each state."""
        with self._lock:
            return self._index.states()

    def submission(self, entry: Entry) -> Submission:
        """The submission that an entry points to."""
        with self._lock:
            return _cached(self._submissions, entry.file, self._read_submissions)[entry.record]

    def answer(self, entry: Entry) -> Answer:
        """The answer that an entry points to."""
        with self._lock:
            return _cached(self._answers, entry.file, self._read_answers).answer_at(entry.position)

    def answers(self, entries: Sequence[Entry]) -> Answers:
        """The answers that entries point to, in their order."""
        with self._lock:
            # Each file is read once. The answers of one batch are mostly in one file, because they came together.
            files = {file: _cached(self._answers, file, self._read_answers) for file in {e.file for e in entries}}
        return Answers.gathered([(files[entry.file], entry.position) for entry in entries])

    def write_submissions(self, submissions: Sequence[Submission]) -> None:
        """Writes submissions to one file, which appears complete or not at all."""
        if submissions:
            path = self._write(records.encode_submissions(submissions), SUBMISSIONS_SUFFIX)
            with self._lock:
                self._add(path, _of_submissions(submissions, len(self._files)))

    def reserve_room(self, submissions: Sequence[Submission]) -> str:
        """Reserves the disk space for tickets, so that a full disk is noticed before a submit is paid for, not after.

        Args:
            submissions: The submits that are about to be made, each of which may get a ticket.

        Returns:
            The path of a placeholder to give to `free_room` before the tickets are written. Empty if the journal is not
            on a local disk, where nothing can be reserved.
        """
        if not submissions or not is_local(self.directory):
            return ""
        path: str = FileSystems.join(self.directory, unique_name(f".room{_ASIDE}"))
        with create_whole(path, mode=self._mode) as f:
            # Each ticket gets a file of its own, and a file takes whole blocks. The bytes are random, because a
            # filesystem could compress others.
            f.write(os.urandom(sum(len(records.encode_submissions([s])) + 2 * _BLOCK for s in submissions)))
        return path

    def free_room(self, path: str) -> None:
        """Frees reserved disk space.

        Args:
            path: What `reserve_room` returned.
        """
        with contextlib.suppress(BeamIOError, OSError):
            FileSystems.delete([path])

    def write_answers(self, answers: Answers, *, is_recorded: bool = False) -> None:
        """Writes answers to one file, which appears complete or not at all.

        Args:
            answers: The answers.
            is_recorded: Whether their cost is recorded elsewhere, because the run has a budget.
        """
        if answers.keys:
            path = self._write(records.encode_answers(answers, is_recorded=is_recorded), ANSWERS_SUFFIX)
            with self._lock:
                self._add(path, _of_answers(answers.keys, answers.answered(), _time_of(path), len(self._files)))

    # -------------------------------------------------------------------------------------------- files

    def _write(self, content: bytes, suffix: str) -> str:
        # The name begins with the time, so that a listing is in order. It is also the time of the answers in the file.
        name = unique_name(suffix)
        path: str = FileSystems.join(self.directory, name)
        if FileSystems.writes_whole(path):
            write_whole(path, content)
            return path
        with create_whole(path + _ASIDE, mode=self._mode) as f:
            f.write(content)
        FileSystems.rename([path + _ASIDE], [path])
        return path

    def _read_new(self, paths: Iterable[str]) -> Iterator[list[Submission]]:
        """Reads the files that were not read before into the index. Yields the submissions of each file, if any."""
        records_files = (path for path in paths if path.endswith((SUBMISSIONS_SUFFIX, ANSWERS_SUFFIX)))
        new = [path for path in records_files if path not in self._read_paths]
        for path, content in zip(new, read_at_once(new), strict=True):
            number, submissions = len(self._files), list[Submission]()
            try:
                if path.endswith(SUBMISSIONS_SUFFIX):
                    submissions = records.decode_submissions(content)
                    found = _of_submissions(submissions, number)
                else:
                    found = _of_answers(*records.decode_answer_keys(content), _time_of(path), number)
            except JournalError as e:
                raise JournalError(f"the journal's file {path} is {e}") from None
            self._add(path, found)
            yield submissions

    def open_submissions(self) -> list[tuple[Submission, list[bool]]]:
        """The submissions that are not known to be over, and for each document whether it is still unanswered."""
        latest: dict[str, Submission] = {}
        with self._lock:
            for number, path in enumerate(self._files):
                if path.endswith(SUBMISSIONS_SUFFIX):
                    latest.update({one.name: one for one in self._read_submissions(number)})
            entries = [(one, self._index.look_up(one.keys)) for one in latest.values() if not one.is_over]
        unanswered = [
            (one, [entry is not None and entry.state in (INTENT, TICKET) for entry in found]) for one, found in entries
        ]
        return [(one, is_open) for one, is_open in unanswered if any(is_open)]

    def submitted_again(self) -> int:
        """Reads the journal, and counts the documents of which the service has accepted more than one submit.

        Each of them may have been paid for twice. The journal must not have been read before.

        Raises:
            JournalError: See `refresh`.
        """
        times: Counter[bytes] = Counter()
        with self._lock:
            for submissions in self._read_new(found.path for found in listing(self.directory)):
                for submission in submissions:
                    if submission.request_id:
                        times.update(submission.keys)
        return sum(number > 1 for number in times.values())

    def _add(self, path: str, found: Iterable[Record]) -> None:
        for record in found:
            self._index.add(record)
        self._files.append(path)
        self._read_paths.add(path)

    def _read_submissions(self, file: int) -> list[Submission]:
        return records.decode_submissions(_bytes(self._files[file]))

    def _read_answers(self, file: int) -> Answers:
        return records.decode_answers(_bytes(self._files[file]))


def _bytes(path: str) -> bytes:
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as f:
        content: bytes = f.read()
    return content


def read_at_once(paths: Sequence[str]) -> Iterator[bytes]:
    """The contents of files, in their order. Remote files are read several at a time, because each request is slow."""
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


def unique_name(suffix: str) -> str:
    """A name for a file that no other process chooses. A listing has such files in the order of their time."""
    return f"{time.time_ns():0{_DIGITS}d}-{uuid.uuid4().hex[:12]}{suffix}"


def _time_of(path: str) -> float:
    digits = FileSystems.split(path)[1].partition("-")[0]
    return int(digits) / 1e9 if digits.isdecimal() and len(digits) <= _DIGITS else 0.0


# ------------------------------------------------------------------------------------------------ ls and gc


def existing(directory: str) -> list[Found]:
    """The files of a journal that must exist.

    Raises:
        InputError: There is no journal in the directory.
    """
    found = _records(directory)
    if not found:
        raise InputError(f"{output(directory)} holds no journal (a run with --emulator or --no-journal keeps none)")
    return found


def existing_answers(directory: str) -> list[str]:
    """The paths of a journal's files of answers, in order; none if there is no journal in the directory."""
    return [found.path for found in _records(directory) if found.path.endswith(ANSWERS_SUFFIX)]


def submit_times(directory: str) -> dict[str, float]:
    """When the submits in a journal were accepted, in Unix seconds by the ids of their jobs.

    Raises:
        InputError: The directory cannot be looked into.
        JournalError: A file is damaged, or of an unknown version.
    """
    paths = [found.path for found in _records(directory) if found.path.endswith(SUBMISSIONS_SUFFIX)]
    times: dict[str, float] = {}
    for path, content in zip(paths, read_at_once(paths), strict=True):
        try:
            for one in records.decode_submissions(content):
                if one.request_id is not None:
                    times.setdefault(one.request_id, one.at)
        except JournalError as e:
            raise JournalError(f"the journal's file {path} is {e}") from None
    return times


def _records(directory: str) -> list[Found]:
    try:
        found = listing(output(directory))
    except (OSError, BeamIOError, ValueError) as e:
        raise InputError(f"cannot look into {directory}: {' '.join(str(e).split())[:300]}") from None
    return [file for file in found if file.path.endswith((SUBMISSIONS_SUFFIX, ANSWERS_SUFFIX))]


def contents(directory: str) -> dict[str, int | str]:
    """What ``kimi-beam journal ls`` shows: documents by their latest record, files, bytes, the oldest and the newest.

    Raises:
        InputError: There is no journal in the directory.
        JournalError: A file is damaged, or of an unknown version.
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
    """Removes the files that were written before a time. Hold the journal's lease, so that no run is using it.

    Args:
        directory: The directory of the journal.
        older_than: Unix seconds. Files that are older are removed.
        dry_run: Whether to return the paths without removing the files.
        missing_ok: Whether a directory without a journal is accepted.

    Returns:
        The paths of the files.

    Raises:
        InputError: There is no journal in the directory.
    """
    files = _records(directory) if missing_ok else existing(directory)
    old = [file.path for file in files if _time_of(file.path) < older_than]
    # Files that were never completed, because their process died or the disk was full, are removed as well.
    old += [file.path for file in listing(output(directory)) if _is_unfinished(file.path, older_than)]
    if old and not dry_run:
        FileSystems.delete(old)
        _journals.forget(absolute(output(directory)))
    return old


def _is_unfinished(path: str, older_than: float) -> bool:
    return path.endswith(_ASIDE) and _time_of(path) < older_than


# ------------------------------------------------------------------------------------------------ one of a process

_journals = PerProcess[Journal]()


def open_journal(directory: str) -> Journal:
    """The journal of a directory. All steps of a process share it, so that its files are read once."""
    # A process, such as a notebook's, may change its directory, after which a relative path is another journal's.
    return _journals.get(absolute(output(directory)), lambda: Journal(directory))
