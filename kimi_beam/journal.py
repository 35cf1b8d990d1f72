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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

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


class Answer(NamedTuple):
    """What the service answered for one document."""

    result: Completion | Failure | None
    """None where it was no answer, so that it may be asked for anew."""
    usage: Usage
    """Tokens."""
    ticket: Ticket
    """The job."""


class Answers(NamedTuple):
    """The answers of some documents, column by column: see `Answer`."""

    keys: Sequence[bytes]
    results: Sequence[Completion | Failure | None]
    usages: Sequence[Usage]
    tickets: Sequence[Ticket]

    def at(self, row: int) -> Answer:
        """One of them."""
        return Answer(self.results[row], self.usages[row], self.tickets[row])

    def select(self, rows: Iterable[int]) -> Answers:
        """Some of them."""
        columns: list[Any] = [[column[row] for column in self] for row in rows]
        return Answers(*zip(*columns, strict=True)) if columns else Answers((), (), (), ())


def answer(result: Completion | Failure) -> Completion | Failure | None:
    """What is kept of a result: a failure that is no answer of the model's is held as nothing."""
    return result if isinstance(result, Completion) or result.code in ANSWERS else None


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


def encode_answers(answers: Answers) -> bytes:
    """The content of a file."""
    columns: list[Any] = [
        answers.keys,
        list(map(_encode_result, answers.results)),
        [usage.prompt_tokens for usage in answers.usages],
        [usage.cached_tokens for usage in answers.usages],
        [usage.completion_tokens for usage in answers.usages],
        [ticket.request_id for ticket in answers.tickets],
        [ticket.attempts for ticket in answers.tickets],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _ANSWERS, strict=True)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _ANSWERS, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=_ANSWERS))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def decode_answer_keys(content: bytes) -> tuple[list[bytes], list[bool]]:
    """The keys of a file of answers, and which of them have one, without the answers.

    Raises:
        JournalError: The file is damaged, or of another version.
    """
    # The lengths of the results are read with them; a column of its own would be a second truth.
    table = _table(content, [0, 1])
    keys: list[Any] = table.column("key").to_pylist()
    answered: list[Any] = table.column("result").is_valid().to_pylist()
    return keys, answered


def decode_answers(content: bytes) -> Answers:
    """The answers of a file.

    Raises:
        JournalError: The file is damaged, or of another version.
    """
    columns: list[list[Any]] = [column.to_pylist() for column in _table(content, None).columns]
    keys, results, prompt, cached, completion, request_ids, attempts = columns
    try:
        return Answers(
            keys,
            list(map(_decode_result, results)),
            list(map(Usage, prompt, cached, completion)),
            _tickets(request_ids, attempts),
        )
    except (ValueError, TypeError) as e:
        raise JournalError(f"damaged: {e}") from None


def _tickets(request_ids: Sequence[Any], attempts: Sequence[Any]) -> list[Ticket]:
    """One for all answers of a job."""
    pairs = list(zip(request_ids, attempts, strict=True))
    known = {pair: Ticket(*pair) for pair in set(pairs)}
    return [known[pair] for pair in pairs]


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
