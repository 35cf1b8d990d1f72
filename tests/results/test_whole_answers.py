"""What the answer for a whole document lacks: told where the text shows it, and never of an answer that is complete."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from both_paths import both_paths
from hypothesis import given, settings
from hypothesis import strategies as st
from line_items import invoices
from long_invoices import INVOICE, invoice
from made_invoices import made_invoice

from kimi_beam.columnar import Documents, Replies, Texts
from kimi_beam.input.document_of_file import document_by_reader
from kimi_beam.input.fields import DEFAULT_READING
from kimi_beam.input.told_by_content import kind_of
from kimi_beam.results.judging import judge_all
from kimi_beam.results.shown_rows import may_show_rows, may_show_rows_in_json, pattern
from kimi_beam.results.whole_answers import Lack, lack, lacks
from kimi_beam.schema import OutputSchema
from kimi_beam.types.answer import AnswerReport, Completion
from kimi_beam.types.document import Document, FileContent, Part
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply

ROWS_ALONE = OutputSchema({name: value for name, value in INVOICE.items() if name != "x-check"})
ANYTHING = OutputSchema({"type": "object"})


def answered(document: Document, answer: Any) -> Reply:
    return Reply(document, Completion(json.dumps(answer), "stop", None, None))


def without(gold: dict[str, Any], *indices: int) -> dict[str, Any]:
    return {**gold, "lines": [line for index, line in enumerate(gold["lines"]) if index not in indices]}


def test_an_answer_without_some_rows_says_how_many() -> None:
    made = invoice(40)
    found = lack(made.document.text, without(made.gold, 3, 17, 39), ROWS_ALONE)
    assert found is not None
    assert found.is_worth_asking
    assert found.figures == ("the text shows 40 rows, and 37 of them are in the answer",)
    assert lack(made.document.text, made.gold, ROWS_ALONE) is None


@pytest.mark.parametrize("rows", [2, 3, 20])
def test_each_row_is_missed(rows: int) -> None:
    made = invoice(rows)
    for index in range(rows):
        assert lack(made.document.text, without(made.gold, index), ROWS_ALONE) is not None, index


def _numbers(value: Any) -> Any:
    """A gold record with its decimals as JSON numbers, as most schemas want them."""
    if isinstance(value, dict):
        return {name: _numbers(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_numbers(one) for one in value]
    is_decimal = isinstance(value, str) and value.lstrip("-").replace(".", "", 1).isdigit() and "." in value
    return float(value) if is_decimal else value


def _real(shared_data: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for kind in ("einvoice", "invoice2data"):
        for line in (shared_data / "documents" / kind / f"{kind}.jsonl").read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            yield record["id"], record["text"], record["gold"]
    for record, content in invoices(shared_data):
        name = f"{record['id']}.pdf"
        yield name, _read(name, content), record["gold"]


def _read(name: str, content: bytes) -> str:
    kind = kind_of(name, content)
    assert kind is not None
    return document_by_reader(name, name, content, kind, DEFAULT_READING)[0].text


def test_no_real_invoice_is_asked_for_again_if_its_answer_is_right(shared_data: Path) -> None:
    """A false alarm is paid for. Half of the answers of which a row was cut are still found to lack it."""
    missed = cut = 0
    for name, text, gold in _real(shared_data):
        for answer in (gold, _numbers(gold)):
            assert lack(text, answer, ANYTHING) is None, name
            for key in ("line_items", "lines"):
                if len(answer.get(key) or ()) > 1:
                    cut += 1
                    missed += lack(text, {**answer, key: answer[key][:-1]}, ANYTHING) is not None
    assert cut > 100
    assert missed / cut > 0.5


def test_no_invoice_of_any_layout_is_asked_for_again_if_its_answer_is_right() -> None:
    missed = cut = 0
    for seed in range(60):
        made = made_invoice(seed)
        text = _read("i.pdf", made.content)
        gold = _numbers(made.record["gold"])
        assert lack(text, gold, ANYTHING) is None, seed
        if len(gold["line_items"]) > 1:
            cut += 1
            missed += lack(text, {"line_items": gold["line_items"][:-1]}, ANYTHING) is not None
    assert missed / cut > 0.9


HEADER = "Item         Qty   Price   Total"
ROWS = [f"Widget {n:03d}     2     4.50    {9 + n}.00" for n in range(4)]
ITEMS = [{"name": f"Widget {n:03d}", "quantity": 2, "total": 9.0 + n} for n in range(4)]


@pytest.mark.parametrize(
    "between",
    [
        "Discount 10 %                    -0.90",
        "Carried forward         2        18.50",
        "Period 01.10.2018 to 31.10.2018",
        "Serial numbers 4711 and 4712",
        "Subtotal     2     4.50    9.00",
        "Page total   2     4.50    9.00",
        "Running total of all items   2     4.50    9.00",
        "Gesamtbetrag netto   2     4.50    9.00",
        "Your discount   2     4.50    -9.00",
        "À reporter   2     4.50    9.00",
        "Page 2 of 3",
    ],
)
def test_what_stands_between_the_rows_is_no_row(between: str) -> None:
    text = "\n".join([HEADER, *ROWS[:2], between, *ROWS[2:]])
    assert lack(text, {"items": ITEMS}, ANYTHING) is None


def test_the_table_of_taxes_is_not_asked_for() -> None:
    taxes = ["", "Rate            Net       Tax", "7 %           18.50      1.30", "19 %          23.50      4.47"]
    text = "\n".join([HEADER, *ROWS, *taxes])
    assert lack(text, {"items": ITEMS}, ANYTHING) is None
    assert lack(text, {"items": ITEMS[:3]}, ANYTHING) is not None


def test_items_that_are_written_otherwise_than_they_stand_are_counted() -> None:
    """A model that translates names and computes amounts has left out nothing."""
    text = "\n".join([HEADER, *ROWS])
    translated = [{"name": f"Dings {n}", "quantity": 2, "total": 100.0 + n} for n in range(2)]
    assert lack(text, {"items": [*ITEMS[:2], *translated]}, ANYTHING) is None
    assert lack(text, {"items": [*ITEMS[:2], *translated[:1]]}, ANYTHING) is not None


def test_a_copy_of_the_document_is_told_and_not_asked_for_again() -> None:
    text = "\n".join([HEADER, *ROWS, "", "Copy for your records, not valid for input tax", "", HEADER, *ROWS])
    found = lack(text, {"items": ITEMS}, ANYTHING)
    assert found is not None
    assert not found.is_worth_asking


def _of_items(**more: Any) -> OutputSchema:
    items = {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}, **more}
    return OutputSchema({"type": "object", "properties": {"items": items}})


@pytest.mark.parametrize("said", [{"x-complete": False}, {"maxItems": 2}, {"x-merge": "union"}, {"uniqueItems": True}])
def test_a_list_that_need_not_have_all_rows_lacks_none(said: dict[str, Any]) -> None:
    text = "\n".join([HEADER, *ROWS])
    assert lack(text, {"items": ITEMS[:2]}, _of_items()) is not None
    assert lack(text, {"items": ITEMS[:2]}, _of_items(**said)) is None


def test_a_table_of_thousands_of_rows_is_compared_in_little_time() -> None:
    """Each row has the quantity of each item, and no item stands in its row as it is written."""
    rows = [f"Widget {n:04d}     2     4.50    {n}.25" for n in range(3_000)]
    items = [{"name": f"Gadget {n}", "quantity": 2, "total": float(n), "price": 4.51} for n in range(3_000)]
    before = time.process_time()
    assert lack("\n".join([HEADER, *rows]), {"items": items}, ANYTHING) is None
    assert time.process_time() - before < 5


@pytest.mark.parametrize(
    ("row", "kinds"),
    [
        ("Widget 003     2     4.50    12.00", "aa"),
        ("1 Toolbox 0815   1.000,00 €   10 Stk  19 %  01.10.2018   2,50", "a%da"),
        ("20:15 call 12 min", "d"),
        ("Nut 12 450 900", "iii"),
        ("a@b.example M8 2 $ 4.50", "a"),
    ],
)
def test_a_row_is_known_by_its_kinds_of_numbers(row: str, kinds: str) -> None:
    assert pattern(row) == kinds


_LINES = st.lists(
    st.sampled_from([ROWS[0], HEADER, "a | b | 2 | 3.50", "a\tb\t2\t3", "Plain words.", "", "\\n", '"x"']), max_size=6
)


def test_what_the_text_shows_is_seen_at_a_glance_in_json_too() -> None:
    with both_paths("rows", "none") as taken:

        @settings(max_examples=400)
        @given(_LINES.map("\n".join))
        def law(text: str) -> None:
            shows = may_show_rows(text)
            taken["rows" if shows else "none"] += 1
            assert may_show_rows_in_json(orjson.dumps(text)[1:-1]) >= shows

        law()


def test_only_answers_for_whole_documents_are_looked_at() -> None:
    made = invoice(10)
    short = json.dumps(without(made.gold, 3))
    part = Part("a", "h", 0, 9, 9)
    replies = [
        answered(made.document, made.gold),
        answered(made.document, without(made.gold, 3)),
        answered(replace(made.document, part=part), without(made.gold, 3)),
        Reply(made.document, Failure("infer", "item_failed", "no luck")),
        Reply(made.document, Completion(short[:-5], "stop", None, None)),
        Reply(made.document, Completion(short, "stop", None, None), report=AnswerReport(2)),
        answered(Document("b", "Some words."), {"number": "1", "seller": None, "lines": [], "net": None}),
    ]
    columns = Replies.of(replies)
    assert list(lacks(columns, judge_all(columns, ROWS_ALONE).instances, ROWS_ALONE, list)) == [1]
    plain = [replace(reply.document, layout=None) for reply in replies[:2]]
    columns = Replies.of([replace(reply, document=one) for reply, one in zip(replies, plain, strict=False)])
    documents = columns.documents
    columns.documents = Documents(documents.ids, Texts.of(documents.texts), documents.sources, {})
    found = lacks(columns, judge_all(columns, ROWS_ALONE).instances, ROWS_ALONE, list)
    assert list(found) == [1], "also where texts are kept as JSON"


@pytest.mark.parametrize("shows_rows", [True, False])
def test_a_reference_is_read_again_only_if_its_text_may_show_rows(shows_rows: bool) -> None:
    made = invoice(10)
    file = FileContent(1, "", shows_rows=shows_rows)
    reference = replace(made.document, layout=None).with_file(file).as_reference("k")
    read: list[str] = []

    def read_again(documents: Any) -> list[Document]:
        read.extend(one.id for one in documents)
        return [made.document for _ in documents]

    columns = Replies.of([answered(reference, without(made.gold, 3))])
    found = lacks(columns, judge_all(columns, ROWS_ALONE).instances, ROWS_ALONE, read_again)
    assert (len(read), len(found)) == ((1, 1) if shows_rows else (0, 0))


def test_an_unmet_sum_and_a_missing_row_are_both_told() -> None:
    made = invoice(5)
    found = lack(made.document.text, without(made.gold, 4), OutputSchema(INVOICE))
    assert isinstance(found, Lack)
    assert found.measure == (1, 0, 1)
    assert [line.split(":")[0].split(",")[0] for line in found.figures] == [
        "the text shows 5 rows",
        "sum(lines.total) == net",
    ]


def _invoice_schema(**more: Any) -> OutputSchema:
    members = {"name": {"type": "string"}, "quantity": {"type": "number"}, "unitPrice": {"type": "number"}}
    lines = {"type": ["array", "null"], "items": {"type": "object", "properties": members}, **more}
    return OutputSchema({"type": "object", "properties": {"of": {"type": "object", "properties": {"lines": lines}}}})


@pytest.mark.parametrize("answer", [{"of": {"lines": []}}, {"of": {"lines": None}}, {"of": {"a": 1}}])
def test_a_list_that_is_empty_under_a_table_with_its_columns_is_told_and_not_asked_for_again(answer: Any) -> None:
    text = "\n".join(["Name         Quantity  Price   Total", *ROWS])
    found = lack(text, answer, _invoice_schema())
    assert found is not None
    assert found.figures == ("/of/lines: the text shows 4 rows with these columns, and the answer has none",)
    assert not found.is_worth_asking
    for nothing_missing in (
        lack(text, {"of": {"lines": ITEMS}}, _invoice_schema()),
        lack(text, answer, _invoice_schema(**{"x-complete": False})),
        lack("\n".join(["Rate         Net     Tax", *ROWS]), answer, _invoice_schema()),
        lack("\n".join(["Name         Quantity  Price   Total", ROWS[0]]), answer, _invoice_schema()),
    ):
        assert nothing_missing is None
