"""Collects the replies of parts until all parts of a document are there, and makes one reply of them.

A part whose answer was cut off, or that is too long for the model, is split further, and one that lacks rows that its
text shows is asked once more. So is a whole document, in parts, and also one whose sums do not add up (``x-check``).
What was paid for stays: if a part fails for good, the document keeps the answers of the others (`Earlier.parts`), so
that it can be run again for that part alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol, cast

from kimi_beam.columnar import Replies
from kimi_beam.request.asking_again import AskingAgain
from kimi_beam.request.batches import Spent
from kimi_beam.request.document_parts import DocumentParts
from kimi_beam.request.joined_replies import (
    better,
    better_whole,
    joined_reply,
    may_need_text,
    short_parts,
    usable,
    whole_after_all,
)
from kimi_beam.request.part_references import ReadAgain, part_reference
from kimi_beam.request.stored_replies import decode, encode
from kimi_beam.results.judging import Judged, judge_all
from kimi_beam.results.whole_answers import Lack, lacks
from kimi_beam.types.answer import AnswerReport, Completion
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply

_PREFIX = "p:"
"""What the names of stored replies begin with, so that they are told apart from those of batches."""
_Kind = Literal["answer", "spent", "earlier", "whole"]
"""The reply of a part; one of which only the tokens count; the first one of a part that is asked once more; the first
one of a whole document that is asked once more, in parts."""


class Store(Protocol):
    """Where replies of parts are kept until all are there."""

    def names(self, prefix: str) -> list[str]:
        """The names that begin so."""
        ...

    def __contains__(self, name: str) -> bool:
        """Whether there is a value of this name."""
        ...

    def __setitem__(self, name: str, value: bytes) -> None:
        """Stores a value under a new name."""

    def take(self, name: str) -> bytes:
        """Removes a value and returns it."""
        ...


class InMemory:
    """A store in memory, for one bundle."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    def names(self, prefix: str) -> list[str]:
        """The names that begin so."""
        return [name for name in self._values if name.startswith(prefix)]

    def __contains__(self, name: str) -> bool:
        """Whether there is a value of this name."""
        return name in self._values

    def __setitem__(self, name: str, value: bytes) -> None:
        """Stores a value under a new name."""
        self._values[name] = value

    def take(self, name: str) -> bytes:
        """Removes a value and returns it."""
        return self._values.pop(name)


class Collected(NamedTuple):
    """What became of some replies."""

    whole: Sequence[Reply]
    """The replies of whole documents."""
    again: list[bytes]
    """Batches of parts that are asked for now."""
    repairs: int = 0
    """How many documents and parts are asked for again because their answers were refused, or lacked something."""


class _Name(NamedTuple):
    """The name of a stored reply. The parts of a document that are there can be told from the names alone."""

    document: str
    kind: _Kind
    start: int
    end: int
    length: int
    number: int

    def __str__(self) -> str:
        return f"{_PREFIX}{':'.join(map(str, self))}"

    @classmethod
    def of(cls, name: str) -> _Name:
        document, kind, *numbers = name.removeprefix(_PREFIX).split(":")
        start, end, length, number = map(int, numbers)
        return cls(document, cast(_Kind, kind), start, end, length, number)


class PartCollector:
    """Collects the replies of parts.

    Args:
        store: Where they are kept.
        parts: Makes parts, also of documents whose answers were cut off.
        read_again: Reads the files of documents that travel as references.
        coerce: Whether values are changed to what the schema wants (`kimi_beam.results.judging.judge`).
        repairs: How often a document or a part is asked for again, at most, because its answer is refused. With 0 none
            is asked for again because something is missing either.
    """

    def __init__(
        self, store: Store, parts: DocumentParts, read_again: ReadAgain, *, coerce: bool = False, repairs: int = 1
    ) -> None:
        self._store, self._parts, self._read_again = store, parts, read_again
        self._coerce, self._may_repair = coerce, repairs > 0
        self._schema = parts.prompt.schema
        self._again = AskingAgain(parts.prompt, repairs, coerce=coerce)
        self._may_lack = bool(self._schema.sum_checks) or parts.prompt.split_rule.item_tokens is not None

    def collect(self, replies: Sequence[Reply]) -> Collected:
        """Takes replies of whole documents and of parts.

        Returns:
            The replies of documents that are complete, and the parts that are asked for now.
        """
        columns, asked, final = self._again.settle(Replies.of(replies), self._with_text)
        others = columns.documents.others.values()
        has_parts = any(document.part is not None for document in others)
        if has_parts or any(document.redacted is not None for document in others):
            judged = self._judged(columns)
        else:
            judged = columns.judged = judge_all(columns, self._schema, coerce=self._coerce)
        lacking = lacks(columns, judged.instances, self._schema, self._read_again) if self._may_lack else {}
        if lacking:
            columns.reports = {**columns.reports, **_with_figures(columns.reports, lacking)}
        refused = {i: why for i, why in judged.failures.items() if i not in final and self._again.may_help(why)}
        is_usual = not (has_parts or asked or refused or any(map(_is_too_long, columns.results.failures.values())))
        if is_usual and not any(one.is_worth_asking for one in lacking.values()):
            return Collected(columns, [])
        kept, made, again, repairs = list[int](), list[Reply](), list[bytes](), len(asked)
        waiting: list[tuple[int | None, Reply, Lack | None, Failure | None]] = [
            (index, reply, lacking.get(index), refused.get(index)) for index, reply in enumerate(columns)
        ]
        while waiting or asked:
            touched = dict[str, None]()
            for index, reply, lack, why in waiting:
                further = self._split_further(reply, lack)
                question = None if further or index in final else self._question(reply, lack, why)
                if question is not None:
                    asked.append(question)
                    repairs += 1
                elif further:
                    asked += further
                    kind: _Kind = "whole" if isinstance(reply.result, Completion) else "spent"
                    touched[self._keep(replace(reply, document=further[0]), kind)] = None
                    repairs += kind == "whole"
                elif reply.document.part is not None:
                    touched[self._keep(reply, "answer")] = None
                elif index is not None:
                    kept.append(index)
                else:
                    made.append(reply)
            short: list[Document] = []
            for document in touched:
                made += self._complete(document, short)
            repairs += len(short)
            packed, unsendable = self._parts.packed([*asked, *short])
            again += packed
            waiting, asked = [(None, self._again.final(reply), None, None) for reply in unsendable], []
        whole = columns if len(kept) == len(columns) else columns.select(kept)
        return Collected([*whole, *made] if made else whole, again, repairs)

    def _judged(self, columns: Replies) -> Judged:
        """What is known of replies some of which are those of parts. Only whole documents have instances."""
        instances, failures = dict[int, Any](), dict[int, Failure]()
        for index, reply in enumerate(columns):
            verdict = self._again.judged(reply)
            if isinstance(verdict, Failure):
                failures[index] = verdict
            elif reply.document.part is None:
                instances[index] = verdict.value
        return Judged(instances, failures, {}, {})

    def _question(self, reply: Reply, lack: Lack | None, failure: Failure | None) -> Document | None:
        """The document with its text, as it is asked for again; None if it is not.

        Args:
            reply: Its first reply.
            lack: What its answer lacks, if that is valid and lacks something.
            failure: Why its answer is refused, if the model may give a better one.
        """
        if failure is not None:
            question = self._again.question(reply, failure)
        else:
            question = None if lack is None or not lack.sums else self._again.question_of_sums(reply)
        return None if question is None else self._with_text(question)

    def _with_text(self, document: Document) -> Document | None:
        """The document with its text; None if its file cannot be read again."""
        if document.is_reference:
            (document,) = self._read_again([document])
        return document if document.failure is None else None

    def _split_further(self, reply: Reply, lack: Lack | None) -> list[Document]:
        """The parts that are asked for instead of a document whose answer cannot be used, or lacks something."""
        if isinstance(reply.result, Failure):
            if not _is_too_long(reply.result) or self._is_rambling(reply):
                return []
        elif not self._may_repair or lack is None or lack.rows is None or not lack.is_worth_asking:
            return []  # where only sums do not add up, the model is told so
        (document,) = self._read_again([reply.document])
        return [] if document.failure is not None else self._parts.split_further(document, reply.document.file)

    def _is_rambling(self, reply: Reply) -> bool:
        """Whether an answer was cut off that had all its room, and needs none for a longer text.

        Parts of the text would have answers that are as long, and each of them would be paid for.
        """
        rule = self._parts.prompt.split_rule
        return not rule.grows and reply.usage.completion_tokens >= rule.answer_limit

    def _keep(self, reply: Reply, kind: _Kind) -> str:
        """Stores the reply of a part, and returns the name of its document."""
        part, arrival = reply.document.part, reply.document.arrival
        assert part is not None
        if kind == "answer":
            reply = self._usable(reply)
        identity = f"{part.document_id}\0{part.text_hash}\0{arrival.delivery if arrival else ''}"
        document = hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
        name = _Name(document, kind, part.start, part.end, part.length, 0)
        # A stream may deliver a document twice, while the first one is still incomplete.
        taken = set(self._store.names(f"{_PREFIX}{document}:"))
        while str(name) in taken:
            name = name._replace(number=name.number + 1)
        self._store[str(name)] = encode(_without_text(reply))
        return document

    def _usable(self, reply: Reply) -> Reply:
        """The reply of a part with its answer as plain JSON, for which the text is looked into in few cases."""
        shown = reply
        if reply.document.is_reference and may_need_text(reply):
            (document,) = self._read_again([reply.document])
            shown = replace(reply, document=document)
        return replace(usable(shown, self._schema.for_parts, coerce=self._coerce), document=reply.document)

    def _complete(self, document: str, asked: list[Document]) -> Iterable[Reply]:
        """The reply of a document if all its parts are there. Parts that lack rows are added to those to ask for."""
        names = sorted(map(_Name.of, self._store.names(f"{_PREFIX}{document}:")), key=lambda name: name[2:])
        tiles = _tiles([name for name in names if name.kind == "answer"])
        if not tiles:
            return ()
        replies = [self._take(name) for name in tiles]
        others = [(name, self._take(name)) for name in names if name.kind != "answer"]
        earlier = {(name.start, name.end): reply for name, reply in others if name.kind == "earlier"}
        has_failed = any(isinstance(reply.result, Failure) for reply in replies)
        whole = next((reply for name, reply in others if name.kind == "whole"), None)
        unreadable = None
        if not has_failed or whole is not None:
            replies, unreadable = self._with_texts(replies)
        may_ask = self._may_repair and not (earlier or has_failed or unreadable or whole)
        short = short_parts(replies, self._schema) if may_ask else []
        if short:
            lacking = {one.part for one in short}
            for index, reply in enumerate(replies):
                self._keep(reply, "earlier" if index in lacking else "answer")
                if index in lacking:
                    asked.append(_in_next_round(reply.document))
            for name, reply in others:
                self._keep(reply, name.kind)
            return ()
        spent = [Spent(reply.usage, reply.ticket.attempts) for _, reply in others]
        spans = [(name.start, name.end) for name in tiles]
        counting = [self._counted(reply, earlier.get(span)) for span, reply in zip(spans, replies, strict=True)]
        joined = joined_reply(counting, spent, self._schema, unreadable)
        if whole is None:
            return (joined,)
        return (
            whole_after_all(joined, whole, unreadable) if unreadable else better_whole(joined, whole, self._schema),
        )

    def _counted(self, reply: Reply, earlier: Reply | None) -> Reply:
        """The reply that counts, of one that a part was asked for once more. The tokens are those of the second."""
        if earlier is None:
            return reply
        # The earlier one is stored without the text, which is that of the second.
        earlier = replace(earlier, document=reply.document.with_earlier(earlier.document.earlier))
        chosen = better(earlier, reply, self._schema)
        return chosen if chosen is reply else replace(chosen, usage=reply.usage, ticket=reply.ticket)

    def _with_texts(self, replies: list[Reply]) -> tuple[list[Reply], Failure | None]:
        """Replies with the texts of their parts. If these cannot be read again: the replies as they are, and why."""
        read = self._read_again([reply.document for reply in replies])
        failure = next((document.failure for document in read if document.failure is not None), None)
        if failure is not None:
            return replies, failure
        return [replace(reply, document=document) for reply, document in zip(replies, read, strict=True)], None

    def _take(self, name: _Name) -> Reply:
        return decode(self._store.take(str(name)))


def _is_too_long(failure: Failure) -> bool:
    """Whether the answer was cut off, or the service says that the text is too long for the model (observed)."""
    return (failure.stage, failure.code) == ("infer", "truncated") or "maximum context length" in failure.message


def _with_figures(reports: Mapping[int, AnswerReport], lacking: Mapping[int, Lack]) -> dict[int, AnswerReport]:
    """The reports on answers that lack something, with what that is."""
    return {
        index: replace(reports.get(index) or AnswerReport(), incomplete=one.figures) for index, one in lacking.items()
    }


def _in_next_round(document: Document) -> Document:
    earlier = document.earlier
    return document.with_earlier(replace(earlier, round=earlier.round + 1, open=None))


def _without_text(reply: Reply) -> Reply:
    """The reply as it is stored: with a reference to its part, if the part can be read again."""
    document = reply.document
    if document.file is None or document.is_reference:
        return reply
    return replace(reply, document=part_reference(document, document.file, document.file.key))


def _tiles(names: Sequence[_Name]) -> list[_Name]:
    """The parts that make up the whole text; empty if one is missing."""
    found: list[_Name] = []
    position = 0
    for name in names:
        if name.start == position and (name.end > position or not name.length):
            found.append(name)
            position = name.end
    return found if found and position == found[0].length else []
