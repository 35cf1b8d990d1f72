"""Asks for several answers for each document (``samples``), and makes one reply of them by a vote.

The first answer is asked for as ever, and repaired as ever. Once it is valid, the further ones are asked for: in the
same shard, with keys of their own in the journal, so that none is paid for twice. A further answer that fails, or is
invalid, has no vote, and a document never fails by one. A document that is asked for in parts is asked for once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple, Protocol

from kimi_beam.columnar import Replies
from kimi_beam.request.document_parts import DocumentParts
from kimi_beam.request.part_collector import Collected, PartCollector, Store
from kimi_beam.request.part_references import ReadAgain
from kimi_beam.request.stored_replies import decode, encode
from kimi_beam.results.judging import Instance, judge, unmasked
from kimi_beam.results.voting import vote
from kimi_beam.results.whole_answers import lack
from kimi_beam.schema import jsontext
from kimi_beam.scoring.compared_places import Place, places_of
from kimi_beam.types.answer import AnswerReport, Completion, Samples, Usage
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply

_PREFIX = "s:"
"""What the names of stored answers begin with, so that they are told apart from those of batches and parts."""
_ID = "{}~{}"
"""The id of a document while a further answer is asked for, so that no two requests of a job have one id."""


class _Name(NamedTuple):
    """The name of a stored answer."""

    document: str
    sample: int
    number: int
    """Tells apart deliveries of a stream, which may bring a document again while its first answers are on their way."""

    def __str__(self) -> str:
        return f"{_PREFIX}{':'.join(map(str, self))}"

    @classmethod
    def of(cls, name: str) -> _Name:
        document, sample, number = name.removeprefix(_PREFIX).split(":")
        return cls(document, int(sample), int(number))


class Collector(Protocol):
    """What becomes of the replies of a shard or a bundle."""

    def collect(self, replies: Sequence[Reply]) -> Collected:
        """Takes replies."""
        ...


def collector_of(
    store: Store, parts: DocumentParts, read_again: ReadAgain, *, coerce: bool, repairs: int, samples: int
) -> Collector:
    """What collects the replies of parts, asks again, and asks for several answers.

    Args:
        store: Where replies are kept meanwhile.
        parts: Makes parts, and packs what is asked for.
        read_again: Reads the files of documents that travel as references.
        coerce: `PartCollector`.
        repairs: `PartCollector`.
        samples: How many answers are asked for, for each document.
    """
    collector = PartCollector(store, parts, read_again, coerce=coerce, repairs=repairs)
    if samples == 1:
        return collector
    return SampleCollector(collector, store, parts, read_again, samples=samples, coerce=coerce)


class SampleCollector:
    """Collects the answers of documents each of which is asked for several times.

    Args:
        collector: Collects the first answers.
        store: Where answers are kept; the collector's own.
        parts: Packs what is asked for.
        read_again: Reads the files of documents that travel as references.
        samples: How many answers are asked for, at least two.
        coerce: Whether values are changed to what the schema wants (`kimi_beam.results.judging.judge`).
    """

    def __init__(
        self,
        collector: PartCollector,
        store: Store,
        parts: DocumentParts,
        read_again: ReadAgain,
        *,
        samples: int,
        coerce: bool = False,
    ) -> None:
        self._collector, self._store, self._parts, self._read_again = collector, store, parts, read_again
        self._samples, self._coerce = samples, coerce
        self._schema = parts.prompt.schema

    @cached_property
    def _root(self) -> Place:
        return places_of(self._schema)

    def collect(self, replies: Sequence[Reply]) -> Collected:
        """Takes replies.

        Returns:
            The replies of documents that have all their answers, and what is asked for now.
        """
        columns = Replies.of(replies)
        further = [index for index, document in columns.documents.others.items() if document.earlier.sample]
        first = sorted(set(range(len(columns))).difference(further))
        collected = self._collector.collect(columns.select(first)) if first else Collected([], [])
        whole, asked, touched = list[Reply](), list[Document](), dict[str, bool]()
        for reply in collected.whole:
            questions = self._questions(reply)
            if questions:
                asked += questions
                self._keep(reply, touched)
            else:
                whole.append(reply)
        packed, unsendable = self._parts.packed(asked)
        for reply in (*(columns[index] for index in further), *unsendable):
            self._keep(reply, touched)
        for document, is_delivered in touched.items():
            whole += self._complete(document, is_delivered=is_delivered)
        return Collected(whole, [*collected.again, *packed], collected.repairs)

    def _questions(self, reply: Reply) -> list[Document]:
        """The document as it is asked for once more for each further answer; empty if it is not."""
        is_in_parts = reply.report is not None and reply.report.parts is not None
        if is_in_parts or not isinstance(self._judged(reply), Instance):
            return []
        (document,) = self._read_again([reply.document])
        if document.failure is not None:
            return []
        file = reply.document.file
        earlier = replace(document.earlier, open=None, attempts=0, parts=(), refused=None)
        each = (
            replace(document, id=_ID.format(document.id, sample), earlier=replace(earlier, sample=sample))
            for sample in range(1, self._samples)
        )
        return [one if file is None else one.with_file(file) for one in each]

    def _judged(self, reply: Reply) -> Instance | Failure:
        if isinstance(reply.result, Failure):
            return reply.result
        return judge(unmasked(reply.result.text, reply.document), self._schema, coerce=self._coerce)

    def _keep(self, reply: Reply, touched: dict[str, bool]) -> None:
        """Stores a reply, and notes the name of its document, and whether a stream has delivered it."""
        document = reply.document
        sample, arrival = document.earlier.sample, document.arrival
        name = document.id.removesuffix(_ID.format("", sample)) if sample else document.id
        identity = f"{name}\0{arrival.delivery if arrival else ''}".encode()
        found = hashlib.blake2b(identity, digest_size=16).hexdigest()
        place = _Name(found, sample, 0)
        while str(place) in self._store:
            place = place._replace(number=place.number + 1)
        if document.file is not None and not document.is_reference:
            reply = replace(reply, document=document.as_reference(document.file.key))
        self._store[str(place)] = encode(reply)
        touched[found] = bool(arrival and arrival.delivery)

    def _complete(self, document: str, *, is_delivered: bool) -> Iterator[Reply]:
        """The reply of a document if all its answers are there; of one that was delivered twice, perhaps both.

        Args:
            document: The name of the document.
            is_delivered: Whether it is of a stream, which may deliver it twice.
        """
        while names := self._all_there(document, is_delivered=is_delivered):
            first, *others = [decode(self._store.take(str(name))) for name in names]
            yield self._voted(first, others)

    def _all_there(self, document: str, *, is_delivered: bool) -> list[_Name]:
        """The names of all answers for a document, the first one first; empty if one is missing."""
        names = [_Name(document, sample, 0) for sample in range(self._samples)]
        if all(str(name) in self._store for name in names):
            return names
        # Only where a stream has delivered the document again, an answer may have another number.
        kept = sorted(map(_Name.of, self._store.names(f"{_PREFIX}{document}:"))) if is_delivered else []
        by_sample = {name.sample: name for name in reversed(kept)}
        return [by_sample[sample] for sample in range(self._samples)] if len(by_sample) == self._samples else []

    def _voted(self, first: Reply, others: Sequence[Reply]) -> Reply:
        """The first reply with the answer that was voted for, and with all that was spent."""
        verdicts = [self._judged(reply) for reply in (first, *others)]
        valid = [one for one in verdicts if isinstance(one, Instance)]
        voted = vote([one.value for one in valid], self._root)
        report = first.report or AnswerReport()
        answer = first.result
        assert isinstance(answer, Completion)
        if not jsontext.same(voted.value, valid[0].value):
            text = jsontext.dumps(voted.value).decode()
            if isinstance(judge(text, self._schema), Instance):
                answer = replace(answer, text=text)
                report = replace(
                    report,
                    incomplete=self._lacking(first.document, voted.value),
                    repairs=(*report.repairs, *valid[0].repairs),
                )
        samples = Samples(self._samples, len(valid), voted.disagreements, voted.left_out)
        usage = sum((reply.usage for reply in others), Usage())
        attempts = sum(reply.ticket.attempts for reply in others)
        return replace(
            first,
            result=answer,
            usage=first.usage + usage,
            ticket=replace(first.ticket, attempts=first.ticket.attempts + attempts),
            report=replace(report, samples=samples),
        )

    def _lacking(self, document: Document, answer: object) -> tuple[str, ...]:
        """What an answer lacks, one line each."""
        (read,) = self._read_again([document])
        lacking = None if read.failure is not None else lack(read.text, answer, self._schema)
        return () if lacking is None else lacking.figures
