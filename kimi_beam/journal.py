"""The journal: what was asked for each document and what became of it, so that nothing is paid for twice.

A document is known by its *key*: a hash of what the model is shown and how it is asked. For each key the journal holds
one of these, the latest of its records counting (but an answer always)::

    intent   a submit that holds it is about to be sent
    ticket   the service has accepted that submit under a request id
    answer   the service's answer
    nothing  it was refused, lost or failed: it may be asked for anew

Records are values; how they look in a file is here too, where the files are is `kimi_beam.io.journal_files`'s business.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import orjson
import pyarrow as pa

from kimi_beam.errors import ConfigError, KimiBeamError
from kimi_beam.types import Completion, Failure, Ticket, Usage

VERSION = 1
KEY_BYTES = 16

ANSWERS = frozenset({"truncated", "empty_answer", "refusal", "content_filter", "tool_call", "too_many_turns"})
"""Failures that are an answer of the model's: they were paid for, and asking the same again would be the same."""

OPEN = frozenset({"deadline", "unknown_submit"})
"""Failures that say nothing about the job: the service may still answer, so that what is known of it stands."""


OnUnknownSubmit = Literal["resubmit", "dead-letter"]


@dataclass(frozen=True)
class Journaling:
    """Where the journal is, and what is done about its one doubt.

    Attributes:
        directory: On any filesystem that Beam knows.
        on_unknown_submit: What becomes of documents whose submit may or may not have been accepted, because nobody
            lived to write it down: they are submitted again, or they are dead letters.
        grace: Seconds after such a submit before it is made again: another worker may still be about to write.
    """

    directory: str
    on_unknown_submit: OnUnknownSubmit = "resubmit"
    grace: float = 60.0

    def __post_init__(self) -> None:
        if self.on_unknown_submit not in get_args(OnUnknownSubmit) or not 0 <= self.grace < math.inf:
            raise ConfigError("journal: on_unknown_submit is resubmit or dead-letter, and grace seconds from 0 on")

    @property
    def may_repeat(self) -> bool:
        """Whether what may have been accepted is submitted again."""
        return self.on_unknown_submit == "resubmit"


def key(identity: bytes, content: bytes, round_: int = 0) -> bytes:
    """The key of a document.

    Args:
        identity: Of the prompt: how every document of the run is asked for.
        content: What the model is shown of this one.
        round_: Bad answers to it that were put aside: the question after them is another.
    """
    return hashlib.blake2b(content, digest_size=KEY_BYTES, key=identity[:64], salt=round_.to_bytes(16, "big")).digest()


# ------------------------------------------------------------------------------------------------ records


@dataclass(frozen=True, slots=True)
class Submission:
    """A batch that is about to be submitted, was accepted, or was refused.

    Attributes:
        name: The batch's; the references of its requests are made of it.
        form: Which way of asking (`Prompt.forms`).
        keys: Of its documents, in the order of the requests.
        at: Unix seconds of the submit.
        request_id: The service's; None where it is not known, or where there is none.
        is_over: Whether it is known that the service holds nothing of it.
    """

    name: str
    form: int
    keys: tuple[bytes, ...]
    at: float
    request_id: str | None = None
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service answered for one document.

    Attributes:
        key: The document's.
        result: None where it was no answer, so that it may be asked for anew.
        usage: Tokens.
        ticket: The job.
    """

    key: bytes
    result: Completion | Failure | None
    usage: Usage
    ticket: Ticket


Records: TypeAlias = "Sequence[Submission] | Sequence[Answer]"


def of(key_: bytes, result: Completion | Failure, usage: Usage, ticket: Ticket) -> Answer:
    """The record of a reply: a failure that is no answer of the model's is held as nothing."""
    is_answer = isinstance(result, Completion) or result.code in ANSWERS
    return Answer(key_, result if is_answer else None, usage, ticket)


# ------------------------------------------------------------------------------------------------ in files

SUBMISSIONS_SUFFIX = ".submissions.json"
ANSWERS_SUFFIX = ".answers.arrow"

_FIELDS: list[Any] = [
    ("key", pa.binary(KEY_BYTES)),
    ("result", pa.binary()),
    ("prompt_tokens", pa.int64()),
    ("cached_tokens", pa.int64()),
    ("completion_tokens", pa.int64()),
    ("request_id", pa.string()),
    ("attempts", pa.int32()),
]
_ANSWERS = pa.schema(_FIELDS, metadata={"kimi_beam.journal": str(VERSION)})


def encode_submissions(submissions: Sequence[Submission]) -> bytes:
    """The content of a file."""
    rows = [(s.name, s.form, b"".join(s.keys).hex(), s.at, s.request_id, s.is_over) for s in submissions]
    return orjson.dumps({"kimi_beam.journal": VERSION, "submissions": rows})


def decode_submissions(content: bytes) -> list[Submission]:
    """The submissions of a file.

    Raises:
        JournalError: The file is damaged, or of another version.
    """
    try:
        read = orjson.loads(content)
        _check(read["kimi_beam.journal"])
        return [_submission(*values) for values in read["submissions"]]
    except (ValueError, KeyError, TypeError) as e:
        raise JournalError(f"damaged: {e}") from None


def _submission(name: Any, form: Any, keys: Any, at: Any, request_id: Any, is_over: Any) -> Submission:
    types = (type(name), type(form), type(at), type(request_id), type(is_over))
    content = bytes.fromhex(keys)
    if types not in _TYPES or len(content) % KEY_BYTES:
        raise ValueError("a submission of other types")
    return Submission(name, form, tuple(_cut(content)), at, request_id, is_over)


_TYPES = [(str, int, float, known, bool) for known in (str, type(None))]


def _cut(keys: bytes) -> Iterable[bytes]:
    return (keys[i : i + KEY_BYTES] for i in range(0, len(keys), KEY_BYTES))


def encode_answers(answers: Sequence[Answer]) -> bytes:
    """The content of a file."""
    columns: list[Any] = [
        [answer.key for answer in answers],
        [_encode_result(answer.result) for answer in answers],
        [answer.usage.prompt_tokens for answer in answers],
        [answer.usage.cached_tokens for answer in answers],
        [answer.usage.completion_tokens for answer in answers],
        [answer.ticket.request_id for answer in answers],
        [answer.ticket.attempts for answer in answers],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _ANSWERS, strict=True)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _ANSWERS, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=_ANSWERS))
    content: bytes = sink.getvalue().to_pybytes()
    return content


class AnswerKeys(NamedTuple):
    """The keys of a file of answers, and which of them have one."""

    keys: list[bytes]
    answered: list[bool]


def decode_answer_keys(content: bytes) -> AnswerKeys:
    """The keys of a file of answers, without the answers.

    Raises:
        JournalError: The file is damaged, or of another version.
    """
    # The lengths of the results are read with them; a column of its own would be a second truth.
    table = _table(content, [0, 1])
    keys: list[Any] = table.column("key").to_pylist()
    answered: list[Any] = table.column("result").is_valid().to_pylist()
    return AnswerKeys(keys, answered)


def decode_answers(content: bytes) -> list[Answer]:
    """The answers of a file.

    Raises:
        JournalError: The file is damaged, or of another version.
    """
    columns = [column.to_pylist() for column in _table(content, None).columns]
    try:
        return [
            Answer(key_, _decode_result(result), Usage(prompt, cached, completion), Ticket(request_id, attempts))
            for key_, result, prompt, cached, completion, request_id, attempts in zip(*columns, strict=True)
        ]
    except (ValueError, TypeError) as e:
        raise JournalError(f"damaged: {e}") from None


def _table(content: bytes, fields: list[int] | None) -> pa.Table:
    options = pa.ipc.IpcReadOptions(included_fields=fields) if fields else pa.ipc.IpcReadOptions()
    try:
        reader = pa.ipc.open_file(pa.BufferReader(content), options=options)
        _check(int((reader.schema.metadata or {}).get(b"kimi_beam.journal", b"0")))
        return reader.read_all()
    except (pa.ArrowException, OSError, ValueError) as e:
        raise JournalError(f"damaged: {' '.join(str(e).split())[:200]}") from None


def _check(version: Any) -> None:
    if version != VERSION:
        told = "take the one that wrote it or a later one, or another directory"
        raise JournalError(f"of version {version!r}; this kimi_beam reads {VERSION}: {told}")


def _encode_result(result: Completion | Failure | None) -> bytes | None:
    if result is None:
        return None
    if isinstance(result, Completion):
        return orjson.dumps((result.text, result.finish_reason, result.created, result.model))
    return orjson.dumps((result.stage, result.code, result.message, result.retryable, result.raw))


def _decode_result(content: bytes | None) -> Completion | Failure | None:
    if content is None:
        return None
    values = orjson.loads(content)
    return Completion(*values) if len(values) == 4 else Failure(*values)


class JournalError(KimiBeamError):
    """A file of the journal cannot be read."""


# ------------------------------------------------------------------------------------------------ the index

NOTHING, INTENT, TICKET, ANSWER = range(4)


class Entry(NamedTuple):
    """The latest record of a key: its state, and where it stands."""

    state: int
    at: float
    file: int
    record: int
    """Of the file: which submission; of an answer, which row."""
    position: int
    """Of the document in the submission."""


_ROW = np.dtype(
    [("key", f"S{KEY_BYTES}"), ("at", "f8"), ("file", "u4"), ("record", "u4"), ("position", "u4"), ("state", "u1")]
)
"""37 bytes a document: 370 MB for 10 million."""

_RECENT = 50_000
"""Keys that are held as Python objects, at several times their size, before they are sorted in with the others."""


class Index:
    """Keys to their latest records, at `_ROW` bytes each."""

    def __init__(self) -> None:
        self._rows = np.empty(0, _ROW)
        self._recent: dict[bytes, Entry] = {}

    def __len__(self) -> int:
        self._settle()
        return len(self._rows)

    def add(self, key_: bytes, entry: Entry) -> None:
        """Takes a record in."""
        before = self._recent.get(key_)
        if before is None or _counts(entry, before):
            self._recent[key_] = entry
        if len(self._recent) >= _RECENT:
            self._settle()

    def look_up(self, keys: Sequence[bytes]) -> list[Entry | None]:
        """The latest record of each key, None where there is none."""
        found: list[Entry | None] = [None] * len(keys)
        if len(self._rows):
            wanted = np.array(keys, f"S{KEY_BYTES}")
            places = np.minimum(np.searchsorted(self._rows["key"], wanted), len(self._rows) - 1)
            for index in np.flatnonzero(self._rows["key"][places] == wanted).tolist():
                found[index] = _entry(self._rows[places[index]])
        for index, key_ in enumerate(keys):
            recent = self._recent.get(key_)
            before = found[index]
            if recent is not None and (before is None or _counts(recent, before)):
                found[index] = recent
        return found

    def states(self) -> Counter[int]:
        """How many keys stand how."""
        self._settle()
        found, counts = np.unique(self._rows["state"], return_counts=True)
        return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))

    def _settle(self) -> None:
        """Sorts the recent records in; of those of one key the one that counts stays."""
        if not self._recent:
            return
        new = np.array([(key_, e.at, e.file, e.record, e.position, e.state) for key_, e in self._recent.items()], _ROW)
        rows = np.concatenate((self._rows, new))
        order = np.lexsort((rows["at"], rows["state"] == ANSWER, rows["key"]))
        rows = rows[order]
        last = np.append(rows["key"][1:] != rows["key"][:-1], True)
        self._rows, self._recent = rows[last], {}


def _counts(later: Entry, before: Entry) -> bool:
    return (later.state == ANSWER, later.at) >= (before.state == ANSWER, before.at)


def _entry(row: Any) -> Entry:
    _, at, file, record, position, state = row.item()
    return Entry(state, at, file, record, position)
