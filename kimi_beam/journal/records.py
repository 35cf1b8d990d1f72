"""The journal: what was asked for each document and what became of it, so that nothing is paid for twice.

A document is known by its *key*: a hash of what the model is shown and how it is asked. For each key the journal holds
one of these, the latest of its records counting (but an answer always)::

    intent   a submit that holds it is about to be sent
    ticket   the service has accepted that submit under a request id
    answer   the service's answer
    nothing  it was refused, lost or failed: it may be asked for anew

Records are values; how they look in a file is here too, where the files are is `kimi_beam.journal.files`'s business.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import orjson
import pyarrow as pa

from kimi_beam.columnar import Results, Tokens, arrow_column
from kimi_beam.errors import ConfigError, KimiBeamError
from kimi_beam.request.batches import KEY_BYTES, cut
from kimi_beam.results.answer_codes import ANSWERS
from kimi_beam.types import Completion, Failure, Ticket, Usage

VERSION = 1


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
    hasher = begun(identity, round_).copy()
    hasher.update(content)
    return hasher.digest()


@functools.lru_cache(maxsize=64)
def begun(identity: bytes, round_: int = 0) -> hashlib.blake2b:
    """What all keys of one identity and round begin with."""
    return hashlib.blake2b(digest_size=KEY_BYTES, key=identity[:64], salt=round_.to_bytes(16, "big"))


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
    results: Results
    tokens: Tokens
    tickets: Sequence[Ticket]

    def answer_at(self, row: int) -> Answer:
        """One of them."""
        return Answer(self.results.result_at(row), self.tokens.usage_at(row), self.tickets[row])

    def answered(self) -> list[bool]:
        """Whether there is an answer, for each."""
        failures = self.results.failures
        if not failures and None not in self.results.texts:
            return [True] * len(self.keys)
        return [text is not None or row in failures for row, text in enumerate(self.results.texts)]

    def select(self, rows: Sequence[int]) -> Answers:
        """Some of them."""
        keys, tickets = [self.keys[row] for row in rows], [self.tickets[row] for row in rows]
        return Answers(keys, self.results.select(rows), self.tokens.select(rows), tickets)

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """Those of several jobs, in their order."""
        if len(parts) == 1:
            return parts[0]
        keys = [key for one in parts for key in one.keys]
        results, tokens = Results.joined([one.results for one in parts]), Tokens.joined([one.tokens for one in parts])
        return cls(keys, results, tokens, [ticket for one in parts for ticket in one.tickets])

    @classmethod
    def gathered(cls, places: Sequence[tuple[Answers, int]]) -> Answers:
        """Some of several: each by the answers that it is one of, and its row there."""
        sources = list({id(answers): answers for answers, _ in places}.values())
        if len(sources) == 1:
            return sources[0].select([row for _, row in places])
        each = [answers.answer_at(row) for answers, row in places]
        return cls(
            [answers.keys[row] for answers, row in places],
            Results.of([one.result for one in each]),
            Tokens.of([one.usage for one in each]),
            [one.ticket for one in each],
        )


def kept(results: Results) -> Results:
    """What is kept of results: a failure that is no answer of the model's is held as nothing."""
    if not results.failures:
        return results
    return results._replace(failures={row: one for row, one in results.failures.items() if one.code in ANSWERS})


# ------------------------------------------------------------------------------------------------ in files

SUBMISSIONS_SUFFIX = ".submissions.json"
ANSWERS_SUFFIX = ".answers.arrow"

_ANSWERS_VERSION = 2
"""Of a file of answers: another number for each change that an earlier kimi_beam would misread. Others are refused."""
_USAGE: list[Any] = [
    ("prompt_tokens", pa.int64()),
    ("cached_tokens", pa.int64()),
    ("completion_tokens", pa.int64()),
    ("request_id", pa.string()),
    ("attempts", pa.int32()),
]
_ANSWERS = pa.schema(
    [
        ("key", pa.binary(KEY_BYTES)),
        ("text", pa.string()),
        ("finish_reason", pa.string()),
        ("created", pa.int64()),
        ("model", pa.string()),
        ("failure", pa.binary()),
        *_USAGE,
    ],
    metadata={"kimi_beam.journal": str(_ANSWERS_VERSION)},
)
# A file holds some hundred rows: to hand their columns to threads took half of the time.
_READ = pa.ipc.IpcReadOptions(use_threads=False)
_WRITE = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)


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
        _check(read["kimi_beam.journal"], VERSION)
        return [_submission(*values) for values in read["submissions"]]
    except (ValueError, KeyError, TypeError) as e:
        raise JournalError(f"damaged: {e}") from None


def _submission(name: Any, form: Any, keys: Any, at: Any, request_id: Any, is_over: Any) -> Submission:
    types = (type(name), type(form), type(at), type(request_id), type(is_over))
    content = bytes.fromhex(keys)
    if types not in _TYPES or len(content) % KEY_BYTES:
        raise ValueError("a submission of other types")
    return Submission(name, form, cut(content), at, request_id, is_over)


_TYPES = [(str, int, float, known, bool) for known in (str, type(None))]


def encode_answers(answers: Answers) -> bytes:
    """The content of a file."""
    results, tokens, tickets = answers.results, answers.tokens, answers.tickets
    failures: list[bytes | None] = [None] * len(answers.keys)
    for row, failure in results.failures.items():
        failures[row] = orjson.dumps((failure.stage, failure.code, failure.message, failure.retryable, failure.raw))
    columns: list[Any] = [
        answers.keys,
        results.texts,
        results.finish_reasons,
        results.created,
        results.models,
        failures,
        *tokens,
        [ticket.request_id for ticket in tickets],
        [ticket.attempts for ticket in tickets],
    ]
    arrays = [arrow_column(column, field.type) for column, field in zip(columns, _ANSWERS, strict=True)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, _ANSWERS, options=_WRITE) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=_ANSWERS))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def decode_answer_keys(content: bytes) -> tuple[list[bytes], list[bool]]:
    """The keys of a file of answers, and which of them have one, without the answers.

    Raises:
        JournalError: The file is damaged, or of another version.
    """
    # The lengths of the answers are read with them; a column of its own would be a second truth.
    table = _table(content, ("key", "text", "failure"))
    held: list[Any] = [table.column(name).is_valid().to_pylist() for name in table.column_names[1:]]
    keys: list[Any] = table.column("key").to_pylist()
    return keys, list(map(any, zip(*held, strict=True)))


def decode_answers(content: bytes) -> Answers:
    """The answers of a file.

    Raises:
        JournalError: The file is damaged, or of another version.
    """
    table = _table(content)
    columns: dict[str, list[Any]] = {name: table.column(name).to_pylist() for name in table.column_names}
    try:
        return Answers(
            columns["key"],
            _results(columns),
            Tokens(columns["prompt_tokens"], columns["cached_tokens"], columns["completion_tokens"]),
            _tickets(columns["request_id"], columns["attempts"]),
        )
    except (ValueError, TypeError, KeyError) as e:
        raise JournalError(f"damaged: {e}") from None


def _results(columns: Mapping[str, list[Any]]) -> Results:
    failures = {row: Failure(*orjson.loads(one)) for row, one in enumerate(columns["failure"]) if one is not None}
    return Results(columns["text"], columns["finish_reason"], columns["created"], columns["model"], failures)


def _tickets(request_ids: Sequence[Any], attempts: Sequence[Any]) -> list[Ticket]:
    """One for all answers of a job."""
    pairs = list(zip(request_ids, attempts, strict=True))
    known = {pair: Ticket(*pair) for pair in set(pairs)}
    return [known[pair] for pair in pairs]


def _table(content: bytes, names: Sequence[str] = ()) -> pa.Table:
    """A file of answers: those of its columns that are named, or all."""
    try:
        reader = pa.ipc.open_file(pa.BufferReader(content), options=_READ)
        _check(int((reader.schema.metadata or {}).get(b"kimi_beam.journal", b"0")), _ANSWERS_VERSION)
        if names:
            fields = [number for number, name in enumerate(reader.schema.names) if name in names]
            options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
            reader = pa.ipc.open_file(pa.BufferReader(content), options=options)
        return reader.read_all()
    except (pa.ArrowException, OSError, ValueError) as e:
        raise JournalError(f"damaged: {' '.join(str(e).split())[:200]}") from None


def _check(version: Any, known: int) -> None:
    if version != known:
        told = "take the one that wrote it or a later one, or another directory"
        raise JournalError(f"of version {version!r}; this kimi_beam reads {known}: {told}")


class JournalError(KimiBeamError):
    """A file of the journal cannot be read."""
