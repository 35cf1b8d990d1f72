from __future__ import annotations

import json
import time
from typing import Any

import jsonschema
import pytest

from kimi_beam.emulator.chat import Wanted
from kimi_beam.emulator.rules.model import answer


def optional(kind: str, **more: object) -> dict[str, object]:
    return {"anyOf": [{"type": kind, **more}, {"type": "null"}]}


def ask(properties: dict[str, Any], text: str, *, required: tuple[str, ...] = (), valid: bool = True) -> Any:
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    value = json.loads(answer([{"role": "user", "content": text}], Wanted("schema", schema)))
    assert jsonschema.Draft202012Validator(schema).is_valid(value) is valid
    return value


def one(name: str, text: str, **schema: Any) -> Any:
    return ask({name: schema or optional("string")}, text).get(name, "left out")


INVOICE = """ACME Widgets Ltd
12 High Street, London SW1A 1AA
Tel: +44 20 7946 0958   Email: billing@acme.example   VAT No: GB123456789

INVOICE

Invoice No: INV-2026-0042          Invoice Date: March 3, 2026
PO Number: 7781                    Due Date: 2026-04-02

Bill To: Beta Retail GmbH
Hauptstraße 5
80333 München

Description          Qty    Unit Price    Amount
Widget, large          2          4.50      9.00
Gadget                10          1.25     12.50
Delivery               1          5.00      5.00

Subtotal                                 £26.50
VAT 20%                                   £5.30
Total Due                               £31.80

Payment terms: 30 days net
Paid: no
"""


def test_an_invoice() -> None:
    item = {
        "type": "object",
        "properties": {
            "description": {"type": "string"},
            "quantity": {"type": "integer"},
            "unit_price": {"type": "number"},
            "amount": {"type": "number"},
        },
        "required": ["description", "quantity", "unit_price", "amount"],
    }
    customer = {
        "type": "object",
        "properties": {"name": optional("string"), "address": optional("string"), "email": optional("string")},
    }
    fields = {
        "vendor": {"type": "string"},
        "vendorEmail": optional("string", format="email"),
        "invoiceNumber": optional("string"),
        "issue_date": optional("string", format="date"),
        "due_date": {"type": "string", "format": "date"},
        "po_number": optional("string"),
        "customer": customer,
        "subtotal": optional("number"),
        "tax": optional("number"),
        "total": {"type": "number"},
        "currency": {"enum": ["USD", "GBP", "EUR", None]},
        "payment_terms": optional("string"),
        "paid": optional("boolean"),
        "discount": optional("number"),
        "vat_id": optional("string"),
        "phone": optional("string"),
        "tracking_number": {"type": "string"},
        "line_items": {"type": "array", "items": item},
    }
    assert ask(fields, INVOICE, required=("vendor", "total")) == {
        "vendor": "ACME Widgets Ltd",
        "vendorEmail": "billing@acme.example",
        "invoiceNumber": "INV-2026-0042",
        "issue_date": "2026-03-03",
        "due_date": "2026-04-02",
        "po_number": "7781",
        "customer": {"name": "Beta Retail GmbH", "address": "Hauptstraße 5 80333 München", "email": None},
        "subtotal": 26.5,
        "tax": 5.3,
        "total": 31.8,
        "currency": "GBP",
        "payment_terms": "30 days net",
        "paid": False,
        "discount": None,
        "vat_id": "GB123456789",
        "phone": "+44 20 7946 0958",
        "line_items": [
            {"description": "Widget, large", "quantity": 2, "unit_price": 4.5, "amount": 9.0},
            {"description": "Gadget", "quantity": 10, "unit_price": 1.25, "amount": 12.5},
            {"description": "Delivery", "quantity": 1, "unit_price": 5.0, "amount": 5.0},
        ],
    }


def test_a_contract() -> None:
    text = (
        "SERVICES AGREEMENT\n\nThis Agreement is entered into as of January 15, 2026 by and between Northwind\n"
        'Traders, Inc., a Delaware corporation ("Client"), and Contoso Consulting LLC ("Consultant").\n\n'
        "The initial term of this Agreement shall be twenty-four (24) months. This Agreement is governed by and\n"
        "construed in accordance with the laws of the State of New York, without regard to conflicts.\n"
    )
    fields = {
        "title": optional("string"),
        "parties": {"type": "array", "items": {"type": "string"}},
        "effective_date": optional("string"),
        "agreement_date": optional("string", format="date"),
        "governing_law": optional("string"),
        "term": optional("string"),
        "document_type": {"enum": ["invoice", "agreement", "receipt"]},
        "expiration_date": optional("string"),
    }
    assert ask(fields, text) == {
        "title": "SERVICES AGREEMENT",
        "parties": ["Northwind Traders, Inc.", "Contoso Consulting LLC"],
        "effective_date": "January 15, 2026",
        "agreement_date": "2026-01-15",
        "governing_law": "New York",
        "term": "twenty-four (24) months",
        "document_type": "agreement",
        "expiration_date": None,
    }


def test_a_german_invoice_with_a_markdown_table() -> None:
    text = """Muster Handels GmbH
Lindenallee 7
10115 Berlin

Rechnung Nr. 2026-118 vom 05.03.2026
Kundennummer: 4711

| Beschreibung | Menge | Einzelpreis | Gesamtpreis |
|---|---|---|---|
| Schrauben M4 | 100 | 0,12 € | 12,00 € |
| Dübel | 50 | 0,30 € | 15,00 € |

Nettobetrag: 1.227,00 €
MwSt. 19 %: 233,13 €
Gesamtbetrag: 1.460,13 €
Zahlbar bis 19.03.2026
"""
    seller = {"type": "object", "properties": {name: optional("string") for name in ("name", "postcode", "city")}}
    item = {
        "type": "object",
        "properties": {"description": optional("string"), "quantity": optional("number"), "total": optional("number")},
    }
    fields = {
        "seller": seller,
        "invoice_number": optional("string"),
        "invoice_date": {"type": "string", "format": "date"},
        "due_date": optional("string", format="date"),
        "total": optional("number"),
        "net_total": optional("string"),
        "vat": optional("number"),
        "currency": optional("string"),
        "customer_number": optional("string"),
        "items": {"type": "array", "items": item},
    }
    assert ask(fields, text) == {
        "seller": {"name": "Muster Handels GmbH", "postcode": "10115", "city": "Berlin"},
        "invoice_number": "2026-118",
        "invoice_date": "2026-03-05",
        "due_date": "2026-03-19",
        "total": 1460.13,
        "net_total": "1.227,00",
        "vat": 233.13,
        "currency": "EUR",
        "customer_number": "4711",
        "items": [
            {"description": "Schrauben M4", "quantity": 100, "total": 12.0},
            {"description": "Dübel", "quantity": 50, "total": 15.0},
        ],
    }


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("invoice_number", "Invoice # A-17", "A-17"),
        ("invoice_number", "INVOICE NO. : A-17  DATE : 1/2/2026", "A-17"),
        ("invoiceNo", "Invoice Number\nA-17", "A-17"),
        ("invoice_number", "STAFF: EVE INVOICE NO: A-17 TIME: 10:00", "A-17"),
        ("invoice_number", "Numéro de facture : F-9", "F-9"),
        ("customer", "Customer - Jane Doe", "Jane Doe"),
        ("buyer", "Bill to:\nJane Doe\n5 Main St", "Jane Doe"),
        ("department", "DEPARTMENT   Sales", "Sales"),
        ("department", "Department ..... Sales", "Sales"),
        ("department", "| Department | Sales |", "Sales"),
        ("favourite_colour", "Favourite colour: blue", "blue"),
        ("favourite_colour", "My favourite colour is blue", None),
        ("cashier", "CASHIER: EVE DATE: 1/2/2026", "EVE"),
        ("date", "Shipped yesterday", None),
        ("due_date", "Date: 1/2/2026", None),
        ("date", "Due: 5/2/2026\nDate: 1/2/2026", "1/2/2026"),
        ("date", "Paris, 3 mars 2024", "3 mars 2024"),
        ("company", "INVOICE\nWidgets & Sons\n5 Main St", "Widgets & Sons"),
        ("company", "JANE ROE\nSUNNY TRADING\nSDN BHD\n(123456-X)\nNO. 5, JALAN A", "SUNNY TRADING SDN BHD"),
        ("merchant", "Corner Cafe\nTel 123\nCustomer: Big Buyer GmbH", "Corner Cafe"),
        (
            "address",
            "Corner Cafe\n5 Main Street,\nSpringfield, IL 62701\nTel 123",
            "5 Main Street, Springfield, IL 62701",
        ),
        ("address", "Corner Cafe\nTel: 123\nThank you", None),
        ("currency", "Price RM 5.00 and RM 6.00, or $1", "MYR"),
        ("email", "Mail: x@y.example", "x@y.example"),
        ("iban", "IBAN: DE02 1203 0000", "DE02 1203 0000"),
    ],
)
def test_labelled_text(name: Any, text: Any, value: Any) -> None:
    assert one(name, text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("TOTAL: 9.00", "9.00"),
        ("TOTAL AMT............. RM 60.31", "60.31"),
        ("TOTAL 8 4.24", "4.24"),
        ("SUB TOTAL 10.00\nGST 0.60\nTOTAL 10.60\nCASH 20.00\nCHANGE 9.40", "10.60"),
        ("TOTAL: 9.02\nROUNDING -0.02\nROUNDED TOTAL (RM): 9.00\nCASH 10.00", "9.00"),
        ("Total 9.02\nRounding adj -0.02\nTotal 9.00", "9.00"),
        ("TOTAL SALES (EXCLUDING GST) : 4.00\nTOTAL GST : 0.24\nTOTAL SALES (INCLUSIVE OF GST) 4.24", "4.24"),
        ("TOTAL 43.70\nGST SUMMARY AMOUNT TAX\nSR 41.23 2.47\nTOTAL 41.23 2.47", "43.70"),
        ("TOTAL QTY: 3\nAmount due   7.00", "7.00"),
        ("Summe: 5,00\nGesamtbetrag 5,95", "5,95"),
        ("Total HT : 10,00 €\nTVA : 2,00 €\nTotal TTC : 12,00 €", "12,00"),
        ("Subtotal 9.00", "9.00"),
        ("Discount 9.00\nChange 1.00", None),
        ("nothing at all", None),
    ],
)
def test_the_total_is_the_amount_to_pay(text: Any, value: Any) -> None:
    assert one("total", text) == value


def test_a_number_is_a_number_and_keeps_its_bounds() -> None:
    assert one("total", "Total: 1,234.56", type="number") == 1234.56
    assert one("pages", "Pages: 3", type="integer") == 3
    assert one("weight", "Weight: 3.5", type="integer") == "left out"
    assert one("age", "Age: 410", **optional("integer", maximum=150)) is None


def test_a_property_can_be_known_by_its_title_or_description() -> None:
    assert one("f1", "Grand Total 7.00", type="string", title="Grand total") == "7.00"
    assert one("f1", "Due date: 1/2/2026", type="string", description="Due date of the invoice") == "1/2/2026"


def test_dates_are_as_printed_or_in_the_format_asked_for() -> None:
    text = "Date: 12-JAN-19 09:30"
    assert one("date", text) == "12-JAN-19"
    assert one("date", text, type="string", format="date") == "2019-01-12"
    assert one("date", text, type="string", format="date-time") == "2019-01-12T09:30:00Z"
    assert one("date", text, type="string", pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$") == "2019-01-12"


def test_an_enumeration_takes_its_label_first_then_what_the_text_names_first() -> None:
    enum = {"enum": ["invoice", "credit_note", "receipt"]}
    assert one("kind", "A receipt\nKind: invoice", **enum) == "invoice"
    assert one("kind", "This credit note replaces the invoice", **enum) == "credit_note"
    assert one("kind", "reinvoiced", **enum) == "left out"
    titled = {"oneOf": [{"const": "jr", "title": "Junior"}, {"const": "sr", "title": "Senior"}]}
    assert one("level", "A senior engineer", **titled) == "sr"
    several = {"type": "array", "items": {"enum": ["red", "green", "blue"]}}
    assert one("colours", "green and red", **several) == ["green", "red"]


@pytest.mark.parametrize(("text", "value"), [("Paid: Yes", True), ("Paid: no", False), ("[x] Paid", True), ("?", None)])
def test_booleans(text: Any, value: Any) -> None:
    assert one("paid", text, **optional("boolean")) is value


def test_lists_of_plain_values() -> None:
    strings = {"type": "array", "items": {"type": "string"}}
    assert one("skills", "Skills:\n- Python\n- Beam\n\nMore", **strings) == ["Python", "Beam"]
    assert one("skills", "Skills: Python, Beam and SQL", **strings) == ["Python", "Beam", "SQL"]
    assert one("emails", "a@x.example b@x.example a@x.example", **strings) == ["a@x.example", "b@x.example"]
    assert one("skills", "none here", **strings) == []
    assert one("skills", "none here", **optional("array", items={"type": "string"})) is None


def test_item_lines_without_a_header() -> None:
    item = {
        "type": "object",
        "properties": {name: optional("string") for name in ("name",)}
        | {name: optional("number") for name in ("qty", "price", "total")},
    }
    text = "CORNER CAFE\n2 x Latte @ 3.50  7.00\n1 x Muffin  2.25\nTea 2 1.50 3.00\nTotal 12.25\nVisa 12.25\n"
    assert one("items", text, type="array", items=item) == [
        {"name": "Latte", "qty": 2, "price": 3.5, "total": 7.0},
        {"name": "Muffin", "qty": 1, "price": None, "total": 2.25},
        {"name": "Tea", "qty": 2, "price": 1.5, "total": 3.0},
    ]


@pytest.mark.parametrize("separator", ["\t", " | ", "   ", ",", ";"])
def test_tables_of_anything(separator: Any) -> None:
    rows = [("Name", "City", "Start date"), ("Jane", "Paris", "2026-01-02"), ("Joe", "Rome", "2026-01-03")]
    text = "Staff list\n\n" + "\n".join(separator.join(row) for row in rows)
    item = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "city": {"type": "string"},
            "start_date": {"type": "string", "format": "date"},
        },
    }
    assert one("people", text, type="array", items=item) == [
        {"name": "Jane", "city": "Paris", "start_date": "2026-01-02"},
        {"name": "Joe", "city": "Rome", "start_date": "2026-01-03"},
    ]


def test_what_is_not_found_is_null_or_left_out_and_never_invented() -> None:
    fields = {
        "nullable": optional("string"),
        "plain": {"type": "string"},
        "amount_of_rain": {"type": "number"},
        "agreed": {"type": "boolean"},
        "inner": {"type": "object", "properties": {"x": {"type": "string"}}},
        "kind": {"enum": ["a1", "b2"]},
        "version": {"const": 3},
    }
    assert ask(fields, "Hello there") == {"nullable": None, "version": 3}
    assert ask(fields, "Hello there", required=("plain",), valid=False) == {"nullable": None, "version": 3}


def test_the_document_is_read_from_its_fence() -> None:
    assert one("total", "Extract the total: 1.00\n```\nTotal: 9.00\n```") == "9.00"


def test_json_object_without_a_schema_gives_the_labelled_values() -> None:
    chat = [{"role": "user", "content": "Invoice No: 7\nTotal: 9.00\nnot a label"}]
    assert json.loads(answer(chat, Wanted("object"))) == {"invoice_no": "7", "total": "9.00"}


def test_no_format_gives_a_sentence() -> None:
    text = answer([{"role": "user", "content": "Dear Sir\nhello"}], Wanted("prose"))
    assert text == 'A text of 3 words that begins with "Dear Sir".'


def test_the_same_question_has_the_same_answer() -> None:
    fields = {name: optional("string") for name in ("vendor", "total", "date", "address", "currency")}
    assert ask(fields, INVOICE) == ask(fields, INVOICE)


@pytest.mark.parametrize(
    "text",
    ["1" * 300_000, "1 " + "111 " * 80_000, "a" * 300_000, " " * 300_000, "\n" * 300_000, "total " * 60_000,
     "total 1.00\n" * 20_000, "between a and b " * 20_000, "total" + "." * 300_000, "term " + "a" * 300_000,
     "```\n" * 80_000, "{" * 300_000, "|" * 300_000, "x: y\n" * 60_000, "İ" * 100_000, "governed laws of " * 20_000],
)  # fmt: skip
def test_hostile_documents_neither_crash_nor_hang(text: Any) -> None:
    item = {"type": "object", "properties": {"description": optional("string"), "amount": optional("number")}}
    names = ("company", "date", "address", "total", "term", "governing_law", "email", "invoice_number", "currency")
    fields: dict[str, Any] = {name: optional("string") for name in names}
    fields["items"] = {"type": "array", "items": item}
    start = time.process_time()
    ask(fields, text)
    answer([{"role": "user", "content": text}], Wanted("object"))
    assert time.process_time() - start < 10
