"""Replies of parts, in any order and with any failure, leave as one reply for each document."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from long_invoices import INVOICE, invoice, read

from kimi_beam.request import batches
from kimi_beam.request.batches import NO_KEY
from kimi_beam.request.checks import prepare
from kimi_beam.request.document_parts import DocumentParts
from kimi_beam.request.packing import Batching
from kimi_beam.request.part_collector import InMemory, PartCollector
from kimi_beam.request.prompt import Prompt
from kimi_beam.request.stored_replies import decode, encode
from kimi_beam.schema import OutputSchema
from kimi_beam.types.answer import AnswerReport, Completion, Repair, Usage
from kimi_beam.types.document import Arrival, Document
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import OpenRequest, Ticket

PROMPT = Prompt(OutputSchema(INVOICE), chunk_tokens=250)
PARTS = DocumentParts(PROMPT, lambda _shown, _round: b"k" * 16, Batching(max_items=3))
MADE = [invoice(rows, seed=rows) for rows in (30, 45, 4)]
FAILED = Failure("infer", "item_failed", "no luck", retryable=True)
CUT_OFF = Failure("infer", "truncated", "cut off", raw='{"lin')


def whole(documents: Sequence[Document]) -> list[Document]:
    return list(documents)


def reply(document: Document, result: Completion | Failure) -> Reply:
    return Reply(document, result, Usage(10, 2, 3), Ticket("r", 1))


def answered(document: Document) -> Reply:
    return reply(document, Completion(json.dumps(read(document.text)), "stop", 5, "m"))


class Model:
    """Answers parts, most of them well, and each text alike: as the seed wants."""

    def __init__(self, seed: int, *, fails: float, cuts: float) -> None:
        self._seed, self._fails, self._cuts = seed, fails, cuts
        self.asked: Counter[str] = Counter()

    def reply(self, document: Document) -> Reply:
        self.asked[document.text] += 1
        made = random.Random(f"{self._seed}{document.id}").random()
        if made < self._fails:
            return reply(document, FAILED)
        return reply(document, CUT_OFF) if made < self._fails + self._cuts else answered(document)


def run(documents: list[Document], model: Model, seed: int) -> list[Reply]:
    """Asks for documents, and takes their replies in any order."""
    made = random.Random(seed)
    store = InMemory()
    collector = PartCollector(store, PARTS, whole)
    key_of = lambda _shown, _round: NO_KEY  # noqa: E731
    line = [batches.encode([prepare(document, PROMPT, key_of)]) for document in documents]
    left: list[Reply] = []
    while line:
        blob = line.pop(made.randrange(len(line)))
        if batches.head(blob).has_undivided:
            rest, parts, kept, unread = PARTS.divide(blob, whole)
            assert (rest, unread) == (None, [])
            line += parts
            replies = kept
        else:
            replies = [model.reply(document) for document in batches.decode(blob)]
        made.shuffle(replies)
        found, again, _ = collector.collect(replies)
        left += found
        line += again
    assert store.names("") == [], "what is kept of a document goes with it"
    return left


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 0.3]))
def test_each_document_leaves_once_and_all_tokens_are_counted(seed: int, fails: float, cuts: float) -> None:
    documents = [replace(one.document, layout=None, metadata={"n": 1}, source="in/x") for one in MADE]
    model = Model(seed, fails=fails, cuts=cuts)
    left = run(documents, model, seed)
    assert sorted(one.document.id for one in left) == sorted(one.id for one in documents)
    asked = sum(model.asked.values())
    assert sum((one.usage for one in left), Usage()) == Usage(10 * asked, 2 * asked, 3 * asked)
    golds = {one.document.id: one.gold for one in MADE}
    for one in left:
        assert replace(one.document, earlier=documents[0].earlier) in documents
        if isinstance(one.result, Completion):
            assert json.loads(one.result.text) == golds[one.document.id]
        else:
            assert one.result.code in ("item_failed", "truncated")
    assert fails or cuts or all(isinstance(one.result, Completion) for one in left)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_a_redrive_asks_for_nothing_that_was_answered(seed: int) -> None:
    document = replace(MADE[1].document, layout=None)
    first = Model(seed, fails=0.3, cuts=0.2)
    (left,) = run([document], first, seed)
    if isinstance(left.result, Completion):
        return
    has_answer = {document.text[part.start : part.end] for part in left.document.earlier.parts if part.answer}
    second = Model(seed, fails=0.0, cuts=0.0)
    (again,) = run([left.document], second, seed + 1)
    assert isinstance(again.result, Completion)
    assert json.loads(again.result.text) == MADE[1].gold
    assert has_answer.isdisjoint(second.asked)


def test_parts_of_another_text_than_the_documents_are_not_used() -> None:
    """A dead letter whose text was mended by hand is asked for anew."""
    document = replace(MADE[0].document, layout=None)
    (left,) = run([document], Model(3, fails=0.9, cuts=0.0), 1)
    assert left.document.earlier.parts
    mended = replace(left.document, text=document.text + "P.S. thank you\n")
    model = Model(0, fails=0.0, cuts=0.0)
    (again,) = run([mended], model, 2)
    assert isinstance(again.result, Completion)
    assert json.loads(again.result.text) == MADE[0].gold
    assert sum(map(len, model.asked)) == len(mended.text)


def test_a_part_waits_in_state_as_it_came() -> None:
    (part, *_) = PARTS.split_further(MADE[0].document)
    arrived = replace(part, arrival=Arrival(1, (0, 2), "ab" * 16))
    for one in (
        reply(part, Completion("{}", None, None, None)),
        replace(reply(arrived, FAILED), open=OpenRequest("r", "k", "n", 3, 1)),
        replace(
            reply(part, Completion("{}", "stop", 5, "m")),
            report=AnswerReport(repairs=(Repair("fence"), Repair("number", "/total", 2))),
        ),
    ):
        assert decode(encode(one)) == one


def test_a_short_text_whose_answer_is_cut_off_is_given_up() -> None:
    """The model repeats itself: it would never end."""
    document = Document("a", "A short text.")
    collector = PartCollector(InMemory(), PARTS, whole, repairs=0)
    found, again, _ = collector.collect([reply(document, CUT_OFF)])
    assert (list(found), again) == ([reply(document, CUT_OFF)], [])


def test_repairs_of_parts_that_nobody_adds_up_would_be_unseen() -> None:
    document = replace(MADE[1].document, layout=None)
    rest, blobs, *_ = PARTS.divide(batches.encode([prepare(document, PROMPT, lambda _shown, _round: NO_KEY)]), whole)
    parts = [part for blob in blobs for part in batches.decode(blob)]
    assert rest is None
    assert len(parts) > 2

    def text(part: Document) -> str:
        return json.dumps(read(part.text))

    answers = [f"```json\n{text(part)[:-1]},}}\n```" for part in parts[:2]]
    answers += [text(part) for part in parts[2:]]
    replies = [reply(part, Completion(answer, "stop", 5, "m")) for part, answer in zip(parts, answers, strict=True)]
    (found,), again, _ = PartCollector(InMemory(), PARTS, whole).collect(replies)
    assert again == []
    assert found.report is not None
    assert found.report.repairs == (Repair("fence", None, 2), Repair("trailing_comma", None, 2))
    assert isinstance(found.result, Completion)
    assert json.loads(found.result.text) == MADE[1].gold


def test_a_first_answer_that_lacks_rows_is_kept_if_a_part_that_is_asked_for_instead_fails() -> None:
    """A valid row never becomes a dead letter because more was wanted. What was spent on the parts is counted."""
    document = replace(MADE[0].document, layout=None)
    parts = DocumentParts(Prompt(OutputSchema(INVOICE)), lambda _shown, _round: b"k" * 16, Batching(max_items=3))
    collector = PartCollector(InMemory(), parts, whole, coerce=False)
    gold = MADE[0].gold
    lacking = {**gold, "lines": gold["lines"][:-3]}
    first = reply(document, Completion(json.dumps(lacking), "stop", 5, "m"))
    left, again, repairs = collector.collect([first])
    assert (list(left), repairs) == ([], 1)
    asked = [part for blob in again for part in batches.decode(blob)]
    assert len(asked) >= 2
    left, again, repairs = collector.collect([reply(asked[0], FAILED), *map(answered, asked[1:])])
    assert (again, repairs) == ([], 0)
    (one,) = left
    assert isinstance(one.result, Completion)
    assert json.loads(one.result.text) == lacking
    assert one.report is not None
    assert one.report.incomplete[0] == "the text shows 30 rows, and 27 of them are in the answer"
    assert one.document == document
    assert one.usage == Usage(10 * (1 + len(asked)), 2 * (1 + len(asked)), 3 * (1 + len(asked)))


def test_a_rambling_answer_without_lists_is_not_multiplied_by_asking_in_parts() -> None:
    flat = {"type": "object", "properties": {"shop": {"type": ["string", "null"]}, "total": {"type": "number"}}}
    text = "\n".join(f"{number} a line of a receipt" for number in range(200))
    for schema, is_full, is_divided in (
        (flat, True, False),
        (flat, False, True),  # the window was full: of a shorter text it holds the answer
        ({"type": "object", "additionalProperties": {"type": "string"}}, True, True),
        (INVOICE, True, True),
    ):
        prompt = Prompt(OutputSchema(schema))
        written = prompt.answer_limit if is_full else 100
        parts = DocumentParts(prompt, lambda _shown, _round: b"k" * 16, Batching())
        collector = PartCollector(InMemory(), parts, whole)
        cut = Reply(Document("d", text), CUT_OFF, Usage(10, 2, written), Ticket("r", 1))
        replies, asked, repairs = collector.collect([cut])
        documents = [document for blob in asked for document in batches.decode(blob)]
        assert not list(replies)
        assert (len(documents) > 1) is is_divided, (schema, written)
        if not is_divided:
            # The whole document, once more, with twice the room; and then no more.
            assert [document.text for document in documents] == [text]
            assert repairs == 1
            again = Reply(documents[0], CUT_OFF, Usage(10, 2, 2 * written), Ticket("s", 1))
            (last,), asked, _ = collector.collect([again])
            assert not asked
            assert isinstance(last.result, Failure)
            assert last.result.code == "truncated"
            assert last.usage.completion_tokens == 3 * written
