"""Columnar lists of documents, results, tokens and replies: one list for each field, values made when they are read.

To make a frozen value costs about half a microsecond, and a document would need several on its way. So the steps hand
on whole columns, and only the code that reads a single `Document` or `Reply` pays for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeVar, overload

import orjson
import pyarrow as pa

from kimi_beam.types.answer import AnswerReport, Completion, Usage
from kimi_beam.types.document import Arrival, Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import OpenRequest, Ticket

T = TypeVar("T")

_NO_METADATA: Mapping[str, Any] = {}


class _Values(Sequence[T]):
    """A sequence that makes its values when they are read. It equals a list of the same values."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def _value(self, index: int) -> T:
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        indices = range(len(self))[index]
        return self._value(indices) if isinstance(indices, int) else [self._value(one) for one in indices]

    def __iter__(self) -> Iterator[T]:
        return map(self._value, range(len(self)))

    def __repr__(self) -> str:
        return repr(list(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (list, _Values)) and list(self) == list(other)


class Texts(_Values[str]):
    """Texts in their JSON spelling, which a request holds as it is. They are decoded only when one is read.

    Args:
        inner: The inside of each text's JSON string, without the quotes; or a function that returns these.
        count: How many texts there are.
    """

    __slots__ = ("_count", "_inner")

    def __init__(self, inner: Sequence[bytes] | Callable[[], Sequence[bytes]], count: int) -> None:
        self._inner, self._count = inner, count

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """Encodes texts.

        Raises:
            TypeError: A text holds half a surrogate pair, which UTF-8 cannot encode.
        """
        return texts if isinstance(texts, cls) else cls([orjson.dumps(text)[1:-1] for text in texts], len(texts))

    @property
    def inner(self) -> Sequence[bytes]:
        """The inside of each text's JSON string, without the quotes."""
        if callable(self._inner):
            self._inner = self._inner()
        return self._inner

    def __len__(self) -> int:
        return self._count

    def _value(self, index: int) -> str:
        text: str = orjson.loads(b'"' + self.inner[index] + b'"')
        return text


class Documents(_Values[Document]):
    """Documents by column. Most have an id, a text and a source and nothing else; the columns hold these.

    Args:
        ids: `Document.id` of each document.
        texts: `Document.text` of each document.
        sources: `Document.source` of each document.
        others: By index, the documents that have more than these three fields.
        digests: `batches.digest` of each id; None if they have not been computed.

    Example:
        >>> documents = Documents.of([Document("a", "Total: 3"), Document("b", "Total: 4", metadata={"page": 2})])
        >>> documents.texts, list(documents.others)
        (['Total: 3', 'Total: 4'], [1])
    """

    __slots__ = ("digests", "ids", "others", "sources", "texts")

    def __init__(
        self,
        ids: Sequence[str],
        texts: Sequence[str],
        sources: Sequence[str],
        others: Mapping[int, Document],
        digests: Sequence[int] | None = None,
    ) -> None:
        self.ids, self.texts, self.sources, self.others, self.digests = ids, texts, sources, others, digests

    @classmethod
    def of(cls, documents: Iterable[Document]) -> Documents:
        """Puts documents into columns; `Documents` are returned as they are."""
        if isinstance(documents, cls):
            return documents
        each = list(documents)
        others = {index: one for index, one in enumerate(each) if not one.is_text_alone}
        return cls([one.id for one in each], [one.text for one in each], [one.source for one in each], others)

    def __len__(self) -> int:
        return len(self.ids)

    def _value(self, index: int) -> Document:
        if (other := self.others.get(index)) is not None:
            return other
        return Document(self.ids[index], self.texts[index], (), {}, self.sources[index])

    def with_others(self, others: Mapping[int, Document]) -> Documents:
        """A copy with other values at some indices; these replace all `others` of this one."""
        return Documents(self.ids, self.texts, self.sources, others, self.digests)

    @classmethod
    def joined(cls, parts: Sequence[Documents]) -> Documents:
        """Concatenates."""
        ids, sources = _join(one.ids for one in parts), _join(one.sources for one in parts)
        texts = Texts(partial(_join_texts, [one.texts for one in parts]), len(ids))
        known = [one.digests for one in parts if one.digests is not None]
        digests = _join(known) if len(known) == len(parts) else None
        return cls(ids, texts, sources, _join_sparse([(len(one), one.others) for one in parts]), digests)

    def select(self, indices: Sequence[int]) -> Documents:
        """The documents at these indices, in this order."""
        texts = self.texts
        chosen: Sequence[str]
        if isinstance(texts, Texts):
            chosen = Texts([texts.inner[index] for index in indices], len(indices))
        else:
            chosen = [texts[index] for index in indices]
        return Documents(
            [self.ids[index] for index in indices],
            chosen,
            [self.sources[index] for index in indices],
            {new: self.others[old] for new, old in enumerate(indices) if old in self.others},
            None if self.digests is None else [self.digests[index] for index in indices],
        )

    def metadata(self) -> list[Mapping[str, Any]]:
        """`Document.metadata` of each document."""
        return self._column(_NO_METADATA, lambda document: document.metadata)

    def arrivals(self) -> list[Arrival | None]:
        """`Document.arrival` of each document."""
        return self._column(None, lambda document: document.arrival)

    def attempts(self) -> list[int]:
        """`Earlier.attempts` of each document."""
        return self._column(0, lambda document: document.earlier.attempts)

    def _column(self, usual: T, field_of: Callable[[Document], T]) -> list[T]:
        """A field of each document: `usual` for the plain documents, which do not have it."""
        column = [usual] * len(self.ids)
        for index, document in self.others.items():
            column[index] = field_of(document)
        return column


def _join_texts(parts: Sequence[Sequence[str]]) -> list[bytes]:
    return _join(Texts.of(texts).inner for texts in parts)


def _join(parts: Iterable[Sequence[T]]) -> list[T]:
    return list(chain.from_iterable(parts))


def _join_sparse(parts: Iterable[tuple[int, Mapping[int, T]]]) -> dict[int, T]:
    """Joins sparse columns: each part is its length, and its values by index. Indices count on through all parts."""
    joined: dict[int, T] = {}
    offset = 0
    for count, values in parts:
        for index, value in values.items():
            joined[offset + index] = value
        offset += count
    return joined


def transposed(rows: Sequence[tuple[Any, ...]], width: int) -> tuple[Any, ...]:
    """The columns of rows of this width; `width` empty columns if there is no row."""
    return tuple(zip(*rows, strict=True)) if rows else ((),) * width


def arrow_column(values: Sequence[Any], data_type: pa.DataType) -> Any:
    """Converts a column to an Arrow array. If all values are equal, only one of them is converted."""
    if len(values) > 1 and values[0] == values[-1] and values.count(values[0]) == len(values):
        first: Any = values[0]
        if first is None:
            nulls: Any = pa.nulls
            return nulls(len(values), data_type)
        same: Any = pa.scalar(first, data_type)
        return pa.repeat(same, len(values))
    return pa.array(values, data_type)


class Results(NamedTuple):
    """The results of requests by column: for each a completion, a failure, or nothing."""

    texts: Sequence[str | None]
    """`Completion.text` of each result; None for a failure, and if there is no result."""
    finish_reasons: Sequence[str | None]
    created: Sequence[int | None]
    models: Sequence[str | None]
    failures: Mapping[int, Failure]
    """By index, the failures. An index that has neither a text nor a failure has no result."""

    @classmethod
    def of(cls, results: Sequence[Completion | Failure | None]) -> Results:
        """Puts results into columns; None stands for a request without a result."""
        rows = [
            (one.text, one.finish_reason, one.created, one.model) if isinstance(one, Completion) else _NO_COMPLETION
            for one in results
        ]
        failures = {index: one for index, one in enumerate(results) if isinstance(one, Failure)}
        texts, finish_reasons, created, models = transposed(rows, 4)
        return cls(texts, finish_reasons, created, models, failures)

    def result_at(self, index: int) -> Completion | Failure | None:
        """The completion or the failure at an index, None if there is no result."""
        text = self.texts[index]
        if text is None:
            return self.failures.get(index)
        return Completion(text, self.finish_reasons[index], self.created[index], self.models[index])

    @classmethod
    def joined(cls, parts: Sequence[Results]) -> Results:
        """Concatenates."""
        failures = _join_sparse([(len(one.texts), one.failures) for one in parts])
        texts, finish_reasons = _join(one.texts for one in parts), _join(one.finish_reasons for one in parts)
        created, models = _join(one.created for one in parts), _join(one.models for one in parts)
        return cls(texts, finish_reasons, created, models, failures)

    def select(self, indices: Sequence[int]) -> Results:
        """The results at these indices, in this order."""
        failures = {new: self.failures[old] for new, old in enumerate(indices) if old in self.failures}
        return Results(
            [self.texts[index] for index in indices],
            [self.finish_reasons[index] for index in indices],
            [self.created[index] for index in indices],
            [self.models[index] for index in indices],
            failures,
        )


_NO_COMPLETION = (None, None, None, None)


class Tokens(NamedTuple):
    """Billed tokens by column: see `Usage`."""

    prompt: Sequence[int]
    cached: Sequence[int]
    completion: Sequence[int]

    @classmethod
    def of(cls, usages: Sequence[Usage]) -> Tokens:
        """Puts usages into columns."""
        return cls(
            [usage.prompt_tokens for usage in usages],
            [usage.cached_tokens for usage in usages],
            [usage.completion_tokens for usage in usages],
        )

    def usage_at(self, index: int) -> Usage:
        """The tokens at an index."""
        return Usage(self.prompt[index], self.cached[index], self.completion[index])

    @classmethod
    def joined(cls, parts: Sequence[Tokens]) -> Tokens:
        """Concatenates."""
        return cls(*(_join(one[column] for one in parts) for column in range(3)))

    def select(self, indices: Sequence[int]) -> Tokens:
        """The tokens at these indices, in this order."""
        return Tokens(*([column[index] for index in indices] for column in self))


class Replies(_Values[Reply]):
    """Replies by column: see `Reply`.

    Args:
        documents: `Reply.document` of each reply.
        results: `Reply.result` of each reply; every one has a completion or a failure.
        tokens: `Reply.usage` of each reply.
        tickets: `Reply.ticket` of each reply.
        open_requests: `Reply.open` by index, for the replies whose request the service may still answer.
        reports: `Reply.report` by index, for the answers that have one.

    Attributes:
        judged: What `kimi_beam.results.judging.judge_all` has found of them, so that it is not looked for twice in one
            process. An optimisation only: it is not pickled.
    """

    __slots__ = ("documents", "judged", "open_requests", "reports", "results", "tickets", "tokens")

    def __init__(
        self,
        documents: Documents,
        results: Results,
        tokens: Tokens,
        tickets: Sequence[Ticket],
        open_requests: Mapping[int, OpenRequest] | None = None,
        reports: Mapping[int, AnswerReport] | None = None,
    ) -> None:
        self.documents, self.results, self.tokens, self.tickets = documents, results, tokens, tickets
        self.open_requests = open_requests or {}
        self.reports = reports or {}
        self.judged: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the columns without `judged`."""
        columns = (self.documents, self.results, self.tokens, self.tickets, self.open_requests, self.reports)
        return Replies, columns

    @classmethod
    def of(cls, replies: Iterable[Reply]) -> Replies:
        """Puts replies into columns; `Replies` are returned as they are."""
        if isinstance(replies, cls):
            return replies
        each = list(replies)
        return cls(
            Documents.of([one.document for one in each]),
            Results.of([one.result for one in each]),
            Tokens.of([one.usage for one in each]),
            [one.ticket for one in each],
            {index: one.open for index, one in enumerate(each) if one.open is not None},
            {index: one.report for index, one in enumerate(each) if one.report is not None},
        )

    @classmethod
    def joined(cls, parts: Sequence[Replies]) -> Replies:
        """Concatenates the replies of several jobs."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            Documents.joined([one.documents for one in parts]),
            Results.joined([one.results for one in parts]),
            Tokens.joined([one.tokens for one in parts]),
            _join(one.tickets for one in parts),
            _join_sparse([(len(one), one.open_requests) for one in parts]),
            _join_sparse([(len(one), one.reports) for one in parts]),
        )

    def select(self, indices: Sequence[int]) -> Replies:
        """The replies at these indices, in ascending order."""
        new = {old: position for position, old in enumerate(indices)}
        chosen = Replies(
            self.documents.select(indices),
            self.results.select(indices),
            self.tokens.select(indices),
            [self.tickets[index] for index in indices],
            {new[old]: one for old, one in self.open_requests.items() if old in new},
            {new[old]: one for old, one in self.reports.items() if old in new},
        )
        chosen.judged = None if self.judged is None else self.judged.select(new)
        return chosen

    def __len__(self) -> int:
        return len(self.documents)

    def _value(self, index: int) -> Reply:
        result = self.results.result_at(index)
        assert result is not None
        usage, ticket = self.tokens.usage_at(index), self.tickets[index]
        document, is_open, report = self.documents[index], self.open_requests.get(index), self.reports.get(index)
        return Reply(document, result, usage, ticket, is_open, report)
