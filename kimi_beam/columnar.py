"""The documents, answers and tokens of one job, column by column.

To make a value of each costs about half a microsecond, several times a document.
So what belongs together flows as a list a field, and whoever wants one value has it made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeVar, overload

import orjson
import pyarrow as pa

from kimi_beam.types import Arrival, Completion, Document, Failure, OpenRequest, Reply, Ticket, Usage

T = TypeVar("T")

_NOTHING: Mapping[str, Any] = {}


class _Values(Sequence[T]):
    """A sequence whose values are made when they are asked for; it equals a list of the same."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def _value(self, place: int) -> T:
        raise NotImplementedError

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> list[T]: ...

    def __getitem__(self, place: int | slice) -> T | list[T]:
        places = range(len(self))[place]
        return self._value(places) if isinstance(places, int) else [self._value(one) for one in places]

    def __iter__(self) -> Iterator[T]:
        return map(self._value, range(len(self)))

    def __repr__(self) -> str:
        return repr(list(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (list, _Values)) and list(self) == list(other)


class Texts(_Values[str]):
    """Texts as JSON has them: what is sent needs no text, and few answers need the text that they answer.

    Args:
        inner: Each as it stands between the quotes of its JSON string, or how to get at them.
        count: How many.
    """

    __slots__ = ("_count", "_inner")

    def __init__(self, inner: Sequence[bytes] | Callable[[], Sequence[bytes]], count: int) -> None:
        self._inner, self._count = inner, count

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """The same texts as JSON.

        Raises:
            TypeError: One is no Unicode (it holds half a surrogate pair).
        """
        return texts if isinstance(texts, cls) else cls([orjson.dumps(text)[1:-1] for text in texts], len(texts))

    @property
    def inner(self) -> Sequence[bytes]:
        """Each as it stands between the quotes of its JSON string."""
        if callable(self._inner):
            self._inner = self._inner()
        return self._inner

    def __len__(self) -> int:
        return self._count

    def _value(self, place: int) -> str:
        text: str = orjson.loads(b'"' + self.inner[place] + b'"')
        return text


class Documents(_Values[Document]):
    """Documents that mostly are an id, a text and where they were read, and nothing else.

    Args:
        ids: Of each.
        texts: Of each.
        sources: Of each.
        others: Those that have more than that, by their places.
        digests: `batches.digest` of each id, where it is known already; else None.
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
        """The same documents by column."""
        if isinstance(documents, cls):
            return documents
        each = list(documents)
        others = {place: one for place, one in enumerate(each) if not one.is_text_alone}
        return cls([one.id for one in each], [one.text for one in each], [one.source for one in each], others)

    def __len__(self) -> int:
        return len(self.ids)

    def _value(self, place: int) -> Document:
        if (other := self.others.get(place)) is not None:
            return other
        return Document(self.ids[place], self.texts[place], (), {}, self.sources[place])

    def with_others(self, others: Mapping[int, Document]) -> Documents:
        """The same with other values at some places."""
        return Documents(self.ids, self.texts, self.sources, others, self.digests)

    @classmethod
    def joined(cls, parts: Sequence[Documents]) -> Documents:
        """The documents of several, in their order."""
        ids, sources = _chained(one.ids for one in parts), _chained(one.sources for one in parts)
        texts = Texts(partial(_inner, [one.texts for one in parts]), len(ids))
        known = [one.digests for one in parts if one.digests is not None]
        digests = _chained(known) if len(known) == len(parts) else None
        return cls(ids, texts, sources, _placed([(len(one), one.others) for one in parts]), digests)

    def metadata(self) -> list[Mapping[str, Any]]:
        """`Document.metadata` of each."""
        return self._of_others(_NOTHING, lambda document: document.metadata)

    def arrivals(self) -> list[Arrival | None]:
        """`Document.arrival` of each."""
        return self._of_others(None, lambda document: document.arrival)

    def attempts(self) -> list[int]:
        """Submits of earlier runs for each."""
        return self._of_others(0, lambda document: document.earlier.attempts)

    def _of_others(self, usual: T, told: Callable[[Document], T]) -> list[T]:
        column = [usual] * len(self.ids)
        for place, document in self.others.items():
            column[place] = told(document)
        return column


def _inner(parts: Sequence[Sequence[str]]) -> list[bytes]:
    return _chained(Texts.of(texts).inner for texts in parts)


def _chained(parts: Iterable[Sequence[T]]) -> list[T]:
    return list(chain.from_iterable(parts))


def _placed(parts: Iterable[tuple[int, Mapping[int, T]]]) -> dict[int, T]:
    """What stands at some places of several sequences, each given with its length, as places of all of them."""
    found: dict[int, T] = {}
    before = 0
    for count, some in parts:
        for place, value in some.items():
            found[before + place] = value
        before += count
    return found


def transposed(rows: Sequence[tuple[Any, ...]], width: int) -> tuple[Any, ...]:
    """The columns of rows, also where there is no row."""
    return tuple(zip(*rows, strict=True)) if rows else ((),) * width


def arrow_column(values: Sequence[Any], of: pa.DataType) -> Any:
    """A column of Arrow; of what is the same in each row, one value is converted."""
    if len(values) > 1 and values[0] == values[-1] and values.count(values[0]) == len(values):
        first: Any = values[0]
        if first is None:
            nulls: Any = pa.nulls
            return nulls(len(values), of)
        same: Any = pa.scalar(first, of)
        return pa.repeat(same, len(values))
    return pa.array(values, of)


class Results(NamedTuple):
    """What came back for some documents: `Completion` by column, and what stands in the place of one."""

    texts: Sequence[str | None]
    """None where there is no completion."""
    finish_reasons: Sequence[str | None]
    created: Sequence[int | None]
    models: Sequence[str | None]
    failures: Mapping[int, Failure]
    """By place. Neither text nor failure: there is nothing."""

    @classmethod
    def of(cls, results: Sequence[Completion | Failure | None]) -> Results:
        """The same results by column."""
        rows = [
            (one.text, one.finish_reason, one.created, one.model) if isinstance(one, Completion) else _NO_COMPLETION
            for one in results
        ]
        failures = {place: one for place, one in enumerate(results) if isinstance(one, Failure)}
        texts, finish_reasons, created, models = transposed(rows, 4)
        return cls(texts, finish_reasons, created, models, failures)

    def at(self, place: int) -> Completion | Failure | None:
        """One of them."""
        text = self.texts[place]
        if text is None:
            return self.failures.get(place)
        return Completion(text, self.finish_reasons[place], self.created[place], self.models[place])

    @classmethod
    def joined(cls, parts: Sequence[Results]) -> Results:
        """Those of several, in their order."""
        failures = _placed([(len(one.texts), one.failures) for one in parts])
        texts, finish_reasons = _chained(one.texts for one in parts), _chained(one.finish_reasons for one in parts)
        created, models = _chained(one.created for one in parts), _chained(one.models for one in parts)
        return cls(texts, finish_reasons, created, models, failures)

    def select(self, places: Sequence[int]) -> Results:
        """Some of them."""
        failures = {new: self.failures[old] for new, old in enumerate(places) if old in self.failures}
        return Results(
            [self.texts[place] for place in places],
            [self.finish_reasons[place] for place in places],
            [self.created[place] for place in places],
            [self.models[place] for place in places],
            failures,
        )


_NO_COMPLETION = (None, None, None, None)


class Tokens(NamedTuple):
    """`Usage` by column."""

    prompt: Sequence[int]
    cached: Sequence[int]
    completion: Sequence[int]

    @classmethod
    def of(cls, usages: Sequence[Usage]) -> Tokens:
        """The same tokens by column."""
        return cls(
            [usage.prompt_tokens for usage in usages],
            [usage.cached_tokens for usage in usages],
            [usage.completion_tokens for usage in usages],
        )

    def at(self, place: int) -> Usage:
        """One of them."""
        return Usage(self.prompt[place], self.cached[place], self.completion[place])

    @classmethod
    def joined(cls, parts: Sequence[Tokens]) -> Tokens:
        """Those of several, in their order."""
        return cls(*(_chained(one[column] for one in parts) for column in range(3)))

    def select(self, places: Sequence[int]) -> Tokens:
        """Some of them."""
        return Tokens(*([column[place] for place in places] for column in self))


class Replies(_Values[Reply]):
    """Replies by column: see `Reply`.

    Args:
        documents: Which.
        results: What came back, for each something.
        tokens: Of each.
        tickets: Of each.
        left_open: By place: the request of a reply whose job may still be answered.
    """

    __slots__ = ("documents", "left_open", "results", "tickets", "tokens")

    def __init__(
        self,
        documents: Documents,
        results: Results,
        tokens: Tokens,
        tickets: Sequence[Ticket],
        left_open: Mapping[int, OpenRequest] | None = None,
    ) -> None:
        self.documents, self.results, self.tokens, self.tickets = documents, results, tokens, tickets
        self.left_open = left_open or {}

    @classmethod
    def of(cls, replies: Iterable[Reply]) -> Replies:
        """The same replies by column."""
        if isinstance(replies, cls):
            return replies
        each = list(replies)
        return cls(
            Documents.of([one.document for one in each]),
            Results.of([one.result for one in each]),
            Tokens.of([one.usage for one in each]),
            [one.ticket for one in each],
            {place: one.open for place, one in enumerate(each) if one.open is not None},
        )

    @classmethod
    def joined(cls, parts: Sequence[Replies]) -> Replies:
        """Those of several jobs, in their order."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            Documents.joined([one.documents for one in parts]),
            Results.joined([one.results for one in parts]),
            Tokens.joined([one.tokens for one in parts]),
            _chained(one.tickets for one in parts),
            _placed([(len(one), one.left_open) for one in parts]),
        )

    def __len__(self) -> int:
        return len(self.documents)

    def _value(self, place: int) -> Reply:
        result = self.results.at(place)
        assert result is not None
        return Reply(
            self.documents[place], result, self.tokens.at(place), self.tickets[place], self.left_open.get(place)
        )
