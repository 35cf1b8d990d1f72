"""Several answers for a document, in any order and with any failure, leave as one reply."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from harness import RECEIPT

from kimi_beam.journal.recorder import Keys
from kimi_beam.request import batches
from kimi_beam.request.checks import prepare
from kimi_beam.request.document_parts import DocumentParts
from kimi_beam.request.packing import Batching
from kimi_beam.request.part_collector import InMemory, PartCollector
from kimi_beam.request.prompt import Prompt
from kimi_beam.request.sample_collector import SampleCollector, collector_of
from kimi_beam.schema import OutputSchema
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.document import Arrival, Document
from kimi_beam.types.earlier_runs import Earlier
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import Ticket

PROMPT = Prompt(OutputSchema(RECEIPT))
KEYS = Keys(PROMPT, WorkersAI("0" * 32))
PARTS = DocumentParts(PROMPT, KEYS.for_parts.of_shown, Batching(max_items=5), KEYS.of_shown)
FAILED = Failure("infer", "item_failed", "no luck", retryable=True)


def whole(documents: Sequence[Document]) -> list[Document]:
    return list(documents)


def replied(document: Document, drawn: random.Random) -> Reply:
    text = json.dumps({"company": "Shop", "total": drawn.choice([1.5, 1.5, 1.5, 2.5])})
    results: list[Completion | Failure] = [
        Completion(text, "stop", 5, "m"),
        Completion("no JSON", "stop", 5, "m"),
        FAILED,
    ]
    result = drawn.choices(results, [8, 1, 1])[0]
    return Reply(document, result, Usage(10, 2, 3), Ticket("r", 1))


@pytest.mark.parametrize("seed", range(30))
def test_each_document_leaves_once_and_all_tokens_are_counted(seed: int) -> None:
    drawn = random.Random(seed)
    samples = drawn.choice([2, 3, 5])
    documents = [
        Document(f"doc~{n}", f"Shop {n}", arrival=Arrival(0, None, drawn.choice(["", f"delivery {n}"])))
        for n in range(12)
    ]
    twice = [one for one in documents if one.arrival and one.arrival.delivery and drawn.random() < 0.5]
    store = InMemory()
    collector = collector_of(store, PARTS, whole, coerce=False, repairs=0, samples=samples)
    line = [batches.encode([prepare(one, PROMPT, KEYS.of_shown)]) for one in [*documents, *twice]]
    left, asked = list[Reply](), 0
    while line:
        replies = []
        for _ in range(drawn.randint(1, 3)):
            if line:
                replies += [
                    replied(document, drawn) for document in batches.decode(line.pop(drawn.randrange(len(line))))
                ]
        drawn.shuffle(replies)
        asked += len(replies)
        found, again, _ = collector.collect(replies)
        left += found
        line += again
    assert store.names("") == [], "what is kept of a document goes with it"
    assert sorted(one.document.id for one in left) == sorted(one.id for one in [*documents, *twice])
    assert all(replace(one.document, earlier=documents[0].earlier) in documents for one in left)
    assert sum((one.usage for one in left), Usage()) == Usage(10 * asked, 2 * asked, 3 * asked)
    assert sum(one.ticket.attempts for one in left) == asked
    for one in left:
        is_valid = isinstance(one.result, Completion) and one.result.text != "no JSON"
        assert (one.report is not None and one.report.samples is not None) == is_valid
    answers = [one.report.samples.answers for one in left if one.report is not None and one.report.samples is not None]
    assert max(answers) == samples


def test_no_two_questions_about_a_document_have_one_id_or_one_key() -> None:
    asked = [
        Document("a", "Shop", earlier=Earlier(number, sample=sample)) for number in range(3) for sample in range(3)
    ]
    keys = {prepare(one, PROMPT, KEYS.of_shown).key for one in asked}
    assert len(keys) == 9
    assert keys == {KEYS.of(one) for one in asked}
    collector = SampleCollector(PartCollector(InMemory(), PARTS, whole), InMemory(), PARTS, whole, samples=4)
    answer = Completion('{"company": "Shop", "total": 1.5}', "stop", 5, "m")
    _, again, _ = collector.collect([Reply(Document("a", "Shop"), answer)])
    items = [item for blob in again for item in batches.items(blob)]
    assert len({item.document.id for item in items} | {"a"}) == 4
    assert len({item.key for item in items} | {KEYS.of(Document("a", "Shop"))}) == 4


def test_a_further_answer_is_asked_for_in_the_same_words_at_another_temperature() -> None:
    first = json.loads(PROMPT.request(Document("a", "Shop")))
    further = [json.loads(PROMPT.request(Document("a", "Shop", earlier=Earlier(sample=n)))) for n in (1, 2)]
    assert all(one["messages"] == first["messages"] for one in further), "another prefix would not be in the cache"
    assert (first["temperature"], "seed" in first) == (0, False)
    assert [(one["temperature"], one["seed"]) for one in further] == [(0.6, 1), (0.6, 2)]
    others = [
        {key: one for key, one in each.items() if key not in ("temperature", "seed")} for each in (first, *further)
    ]
    assert others[0] == others[1] == others[2]
    thinking = json.loads(
        Prompt(OutputSchema(RECEIPT), thinking=True).request(Document("a", "x", earlier=Earlier(sample=1)))
    )
    assert ("temperature" in thinking, thinking["seed"]) == (False, 1)


def test_with_one_answer_nothing_stands_between_the_replies_and_their_rows() -> None:
    assert type(collector_of(InMemory(), PARTS, whole, coerce=False, repairs=1, samples=1)) is PartCollector


def test_a_document_in_a_batch_keeps_which_answer_it_asks_for() -> None:
    document = Document("a", "Shop", earlier=Earlier(2, sample=3))
    (back,) = batches.decode(batches.encode([prepare(document, PROMPT, KEYS.of_shown)]))
    assert back.earlier == document.earlier
