"""The journal's records, and how they look in a file: what was asked for each document and what became of it.

A document is known by its *key*: a hash of what the model is shown and how it is asked. For each key the journal holds
one of these states. The latest record counts, but an answer counts before all others::

    intent   a submit that holds it is about to be sent
    ticket   the service has accepted that submit under a request id
    answer   the service's answer
    nothing  it was refused, lost or failed: it may be asked for anew

Files are written and found by `kimi_beam.journal.files`.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import orjson
import pyarrow as pa

from kimi_beam.columnar import Results, Tokens, arrow_column
from kimi_beam.errors import ConfigError, KimiBeamError
from kimi_beam.request.batches import KEY_BYTES, split_keys
from kimi_beam.results.answer_codes import ANSWERS
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.failure import Failure
from kimi_beam.types.ticket import Ticket

VERSION = 1


OnUnknownSubmit = Literal["resubmit", "dead-letter"]


@dataclass(frozen=True)
class Journaling:
    """Where the journal is, and what is done with submits of which it does not know how they ended.

    Attributes:
        directory: A directory on any filesystem that Beam knows.
        on_unknown_submit: What becomes of the documents of an unknown submit, whose worker died before it wrote down
            whether the service accepted it: they are submitted again, or become dead letters.
        grace: Seconds to wait before an unknown submit is made again, because its worker may be slow and not dead.

    Raises:
        ConfigError: `on_unknown_submit` is neither of its two values, or `grace` is below 0 or not finite.

    Example:
        >>> journal = kb.Journaling("out/_journal", on_unknown_submit="dead-letter")
        >>> extract = kb.Extract("receipt.json", service=service, journal=journal)
    """

    directory: str
    on_unknown_submit: OnUnknownSubmit = "resubmit"
    grace: float = 60.0

    def __post_init__(self) -> None:
        if self.on_unknown_submit not in get_args(OnUnknownSubmit) or not 0 <= self.grace < math.inf:
            raise ConfigError("journal: on_unknown_submit is resubmit or dead-letter, and grace seconds from 0 on")

    @property
    def may_repeat(self) -> bool:
        """Whether unknown submits are made again."""
        return self.on_unknown_submit == "resubmit"


def key(identity: bytes, content: bytes, round_: int = 0) -> bytes:
    """The key of a document.

    Args:
        identity: The service and the prompt, which are the same for all documents of a run.
        content: The bytes that the model is shown of this document.
        round_: How many bad answers of the document redrives have put aside. Each round is another question.
    """
    hasher = key_hasher(identity, round_).copy()
    hasher.update(content)
    return hasher.digest()


@functools.lru_cache(maxsize=64)
def key_hasher(identity: bytes, round_: int = 0) -> hashlib.blake2b:
    """The hasher with which all keys of one identity and round begin. Copy it before adding to it."""
    return hashlib.blake2b(digest_size=KEY_BYTES, key=identity[:64], salt=round_.to_bytes(16, "big"))


# ------------------------------------------------------------------------------------------------ records


@dataclass(frozen=True, slots=True)
class Submission:
    """A batch that is about to be submitted, was accepted, or was refused.

    Attributes:
        name: The batch's id, with which the references of its requests begin.
        form: The index of the form in which it asks (`Prompt.forms`).
        keys: The keys of its documents, in the order of the requests.
        at: When it was written down, in Unix seconds.
        request_id: The ticket. None: the submit was not accepted, or it is not known whether it was.
        is_over: Whether the service is known to hold none of its requests.
        sizes: The bytes of each request, by which a later run with a budget bounds what they cost. Empty if this run
            has a budget itself, which records that elsewhere.
    """

    name: str
    form: int
    keys: tuple[bytes, ...]
    at: float
    request_id: str | None = None
    is_over: bool = False
    sizes: tuple[int, ...] = ()


class Answer(NamedTuple):
    """What the service answered for one document."""

    result: Completion | Failure | None
    """None if there was no answer, so that the document may be asked for again."""
    usage: Usage
    """The tokens that it cost."""
    ticket: Ticket
    """The job that it was part of."""


class Answers(NamedTuple):
    """Answers of several documents as columns: see `Answer`."""

    keys: Sequence[bytes]
    results: Results
    tokens: Tokens
    tickets: Sequence[Ticket]

    def answer_at(self, row: int) -> Answer:
        """The answer in a row."""
        return Answer(self.results.result_at(row), self.tokens.usage_at(row), self.tickets[row])

    def answered(self) -> list[bool]:
        """For each row, whether it holds an answer."""
        failures = self.results.failures
        if not failures and None not in self.results.texts:
            return [True] * len(self.keys)
        return [text is not None or row in failures for row, text in enumerate(self.results.texts)]

    def select(self, rows: Sequence[int]) -> Answers:
        """The answers in the given rows, in that order."""
        keys, tickets = [self.keys[row] for row in rows], [self.tickets[row] for row in rows]
        return Answers(keys, self.results.select(rows), self.tokens.select(rows), tickets)

    @classmethod
    def joined(cls, jobs: Sequence[Answers]) -> Answers:
        """The answers of several jobs, one after the other."""
        if len(jobs) == 1:
            return jobs[0]
        keys = [key for job in jobs for key in job.keys]
        results, tokens = Results.joined([job.results for job in jobs]), Tokens.joined([job.tokens for job in jobs])
        return cls(keys, results, tokens, [ticket for job in jobs for ticket in job.tickets])

    @classmethod
    def gathered(cls, places: Sequence[tuple[Answers, int]]) -> Answers:
        """Collects answers from several files.

        Args:
            places: For each answer, the answers of its file and its row there.
        """
        sources = list({id(answers): answers for answers, _ in places}.values())
        if len(sources) == 1:
            return sources[0].select([row for _, row in places])
        collected = [answers.answer_at(row) for answers, row in places]
        return cls(
            [answers.keys[row] for answers, row in places],
            Results.of([answer.result for answer in collected]),
            Tokens.of([answer.usage for answer in collected]),
            [answer.ticket for answer in collected],
        )


def answers_only(results: Results) -> Results:
    """The results without failures that are not an answer of the model, which the journal does not keep."""
    if not results.failures:
        return results
    failures = {row: failure for row, failure in results.failures.items() if failure.code in ANSWERS}
    return results._replace(failures=failures)


# ------------------------------------------------------------------------------------------------ in files

SUBMISSIONS_SUFFIX = ".submissions.json"
ANSWERS_SUFFIX = ".answers.arrow"

_ANSWERS_VERSION = 2
"""The version of a file of answers. It is raised by each change that an earlier kimi_beam would misread."""
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
_IS_RECORDED = b"kimi_beam.spending"
_RECORDED_ANSWERS = _ANSWERS.with_metadata({**_ANSWERS.metadata, _IS_RECORDED: b"recorded"})
# Threads are off because a file holds a few hundred rows: handing their columns over took half of the time (measured).
_READ = pa.ipc.IpcReadOptions(use_threads=False)
_WRITE = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)


def encode_submissions(submissions: Sequence[Submission]) -> bytes:
    """The content of a file of submissions."""
    rows = [(s.name, s.form, b"".join(s.keys).hex(), s.at, s.request_id, s.is_over, s.sizes) for s in submissions]
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


def _submission(name: Any, form: Any, keys: Any, at: Any, request_id: Any, is_over: Any, sizes: Any = ()) -> Submission:
    types = (type(name), type(form), type(at), type(request_id), type(is_over))
    content = bytes.fromhex(keys)
    if types not in _TYPES or len(content) % KEY_BYTES or any(type(size) is not int for size in sizes):
        raise ValueError("a submission of other types")  # it becomes a JournalError in `decode_submissions`
    return Submission(name, form, split_keys(content), at, request_id, is_over, tuple(sizes))


_TYPES = [(str, int, float, request_id_type, bool) for request_id_type in (str, type(None))]


def encode_answers(answers: Answers, *, is_recorded: bool = False) -> bytes:
    """The content of a file of answers.

    Args:
        answers: The answers.
        is_recorded: Whether their cost is recorded elsewhere, because the run has a budget.
    """
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
    schema = _RECORDED_ANSWERS if is_recorded else _ANSWERS
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema, options=_WRITE) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def decode_answer_keys(content: bytes) -> tuple[list[bytes], list[bool]]:
    """The keys in a file of answers, and for each whether it has an answer, without reading the answers.

    Raises:
        JournalError: The file is damaged, or of another version.
    """
    # Whether there is an answer is read from the validity of its columns; a flag in a column of its own could disagree.
    table = _table(content, ("key", "text", "failure"))
    validity: list[Any] = [table.column(name).is_valid().to_pylist() for name in table.column_names[1:]]
    keys: list[Any] = table.column("key").to_pylist()
    return keys, list(map(any, zip(*validity, strict=True)))


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


def decode_unrecorded(content: bytes) -> Iterator[tuple[bytes, str | None, Usage]]:
    """For each answer of a file, its key, the job and the tokens; none if their cost is recorded elsewhere.

    Raises:
        JournalError: The file is damaged, or of another version.
    """
    table = _table(content, ("key", *(name for name, _ in _USAGE)))
    if _IS_RECORDED in (table.schema.metadata or {}):
        return
    columns: dict[str, list[Any]] = {name: table.column(name).to_pylist() for name in table.column_names}
    usages = map(Usage, columns["prompt_tokens"], columns["cached_tokens"], columns["completion_tokens"])
    yield from zip(columns["key"], columns["request_id"], usages, strict=True)


def _results(columns: Mapping[str, list[Any]]) -> Results:
    failures = {row: Failure(*orjson.loads(text)) for row, text in enumerate(columns["failure"]) if text is not None}
    return Results(columns["text"], columns["finish_reason"], columns["created"], columns["model"], failures)


def _tickets(request_ids: Sequence[Any], attempts: Sequence[Any]) -> list[Ticket]:
    """The ticket of each answer. Answers of one job share one object."""
    pairs = list(zip(request_ids, attempts, strict=True))
    tickets = {pair: Ticket(*pair) for pair in set(pairs)}
    return [tickets[pair] for pair in pairs]


def _table(content: bytes, names: Sequence[str] = ()) -> pa.Table:
    """A file of answers as a table: the named columns, or all columns if none is named."""
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


def _check(version: Any, readable: int) -> None:
    if version != readable:
        advice = "take the one that wrote it or a later one, or another directory"
        raise JournalError(f"of version {version!r}; this kimi_beam reads {readable}: {advice}")


class JournalError(KimiBeamError):
    """A file of the journal cannot be read."""
