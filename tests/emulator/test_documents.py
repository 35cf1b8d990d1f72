"""Whole small documents, each for a habit of real ones: mail, Markdown, letters, contracts, tills."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from kimi_beam.emulator.chat import Wanted
from kimi_beam.emulator.rules.document_kinds import is_title, kind_named, kind_of
from kimi_beam.emulator.rules.markup import plain
from kimi_beam.emulator.rules.model import answer
from kimi_beam.emulator.rules.page import Page

TEXT = {"type": ["string", "null"]}
NUMBER = {"type": ["number", "null"]}
ITEM = {
    "type": "object",
    "properties": {"description": {"type": "string"}, "quantity": NUMBER, "unit_price": NUMBER, "amount": NUMBER},
    "required": ["description", "quantity", "unit_price", "amount"],
}
SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["invoice", "receipt", "contract"]},
        "number": TEXT,
        "issuer": {"type": "string"},
        "counterparty": TEXT,
        "date": {"type": "string", "format": "date"},
        "total": NUMBER,
        "line_items": {"type": "array", "items": ITEM},
    },
    "required": ["kind", "number", "issuer", "counterparty", "date", "total", "line_items"],
}


def read(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(answer([{"role": "user", "content": text}], Wanted("schema", SCHEMA)))
    return value


def head(text: str) -> tuple[Any, ...]:
    value = read(text)
    return tuple(value.get(name) for name in ("kind", "number", "issuer", "counterparty", "date", "total"))


def items(text: str) -> list[tuple[Any, ...]]:
    return [tuple(item.values()) for item in read(text)["line_items"]]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("TAX INVOICE\nAcme", "invoice"),
        ("Acme\n\nRechnung Nr. 5", "invoice"),
        ("Schlussrechnung\nAcme", "invoice"),
        ("FACTURE\nAcme", "invoice"),
        ("Till receipt\nAcme", "receipt"),
        ("Quittung 7\nAcme", "receipt"),
        ("Kassenbon\nAcme", "receipt"),
        ("CASH BILL\nAcme", "receipt"),
        ("MIETVERTRAG\nzwischen A und B", "contract"),
        ("Mutual Non-Disclosure Agreement", "contract"),
        ("CONTRAT DE LOCATION\nEntre A et B", "contract"),
        ("SERVICES AGREEMENT\n\n3. An invoice is sent monthly. Each invoice lists the hours.\n"
        "Invoices are due.", "contract"),
        ("INVOICE\n\nAs agreed in our contract. The contract says so. See the receipt.", "invoice"),
        ("Acme\nInvoice number: 5\nThis is not a receipt; a receipt follows.", "invoice"),
        ("TAX INVOICE / RECEIPT\nCASH 10.00\nCHANGE 1.00", "receipt"),
        ("TAX INVOICE\nCASHIER 4\nCASH 10.00\nCHANGE 1.00\nTHANK YOU", "receipt"),
        ("Corner Cafe\nTea 2.00\nPaid with thanks\nTable 4", "receipt"),
        ("The gardener (the \"Lender\") lends, and Jo borrows a rake. Agreed and signed.", "contract"),
        ("Minutes of the meeting\nNobody agreed on anything.", None),
        ("carbon billing ticketing", None),
    ],
)  # fmt: skip
def test_the_kind_of_a_document(text: Any, kind: Any) -> None:
    assert kind_of(Page(text), ["invoice", "receipt", "contract"]) == kind
    assert read(text).get("kind") == kind


def test_members_of_an_enumeration_are_known_by_synonyms() -> None:
    schema = {"type": "object", "properties": {"doc": {"enum": ["Rechnung", "sales_receipt", "agreement", "other"]}}}
    for text, member in (
        ("INVOICE 4", "Rechnung"),
        ("Quittung 7", "sales_receipt"),
        ("Kaufvertrag", "agreement"),
        ("hm", None),
    ):
        value = json.loads(answer([{"role": "user", "content": text}], Wanted("schema", schema)))
        assert value.get("doc") == member
    assert [kind_named(name) for name in ("creditNote", "NDA", "red", 3)] == ["credit note", "contract", None, None]


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("INVOICE", True),
        ("Rechnung Nr. 7", True),
        ("SUPPLY AGREEMENT", True),
        ("Bon & Sons", False),
        ("Acme Ltd", False),
    ],
)
def test_titles(line: Any, title: Any) -> None:
    assert is_title(line) is title


def test_what_surrounds_a_document_is_taken_off() -> None:
    text, headers = plain(
        "From: A <a@x.example>\nTo: B\nDate: Mon, 9 Mar 2026\nSubject: hi\n\nOn Monday 2 March Jane wrote:\n"
        "> # Title\n> **Bold**: 2 ** 3\n> ***\n\n```json\n{}\n```\n*all of a line*\nCARD ****0000\n"
    )
    assert text.split("\n") == ["", "", "", "Title", "Bold: 2 ** 3", "***", "", "all of a line", "CARD ****0000", ""]
    assert headers.startswith("From: A")
    assert plain("```\nall there is\n```") == ("```\nall there is\n```", "")
    assert plain("From: here\nTo: there\nDate: 1/2/2026\nFare: 3") == (
        "From: here\nTo: there\nDate: 1/2/2026\nFare: 3",
        "",
    )


def test_a_forwarded_mail_is_not_its_invoice() -> None:
    text = (
        "From: Jo <jo@x.example>\nTo: Accounts <ap@x.example>\nDate: Tue, 12 May 2026 08:00:00 +0000\n"
        "Subject: Fwd: invoice\n\nPlease pay.\n\nOn 11 May 2026 Supplies wrote:\n> INVOICE B-77\n"
        "> From: Tall Ladders Ltd\n"
        "> To: Short Shelf Library\n> Date: 4 May 2026\n>\n> 2 x Ladder @ 40.00 80.00\n>\n> Total: £80.00\n"
    )
    assert head(text) == ("invoice", "B-77", "Tall Ladders Ltd", "Short Shelf Library", "2026-05-04", 80.0)
    assert items(text) == [("Ladder", 2, 40.0, 80.0)]
    letter = (
        "From: Jo <jo@x.example>\nTo: Al\nDate: 12 May 2026\nSubject: receipt\n\n"
        "Receipt 9\nShop: Blue Door\nTotal: £2.00"
    )
    assert head(letter)[:1] + head(letter)[4:] == ("receipt", "2026-05-12", 2.0)


def test_a_letter_with_a_window_address() -> None:
    text = """Holt & Finch
Surveyors
12 Canal Street, Leeds LS1 4AB

Mrs Ada Winterbourne
9 Mill Lane
Otley

Leeds, 7 April 2026

Invoice HF-12

For our survey we charge a fee of £350.00, VAT included.
"""
    assert head(text) == ("invoice", "HF-12", "Holt & Finch", "Mrs Ada Winterbourne", "2026-04-07", 350.0)


def test_a_letterhead_shares_its_lines_with_other_things() -> None:
    text = "BRIGHT LAMP COMPANY                    INVOICE\n4 Wick Road                  printed 2026-01-09\n\n"
    text += "Invoice no.  77-A            Order no.   31\nDate         2026-01-08      Customer no.  9\n"
    text += "Bill to                      Ship to\nDim Room Cinema              Dock 4\n\nTotal due      EUR 20.00\n"
    assert head(text) == ("invoice", "77-A", "BRIGHT LAMP COMPANY", "Dim Room Cinema", "2026-01-08", 20.0)


@pytest.mark.parametrize(
    ("text", "issuer", "counterparty"),
    [
        (
            "SUPPLY AGREEMENT\n\nBETWEEN\n\n(1)  OAK LTD, a company\n     of Bath (the \"Seller\"); and\n\n"
            "(2)  ELM PLC, whose office\n is at Rye.",
            "OAK LTD",
            "ELM PLC",
        ),
        ("NDA\n\nParties:\n\n1. Oak, Inc. (\"Oak\")\n2. Elm Partnership (\"Elm\")", "Oak, Inc.", "Elm Partnership"),
        (
            "KAUFVERTRAG\n\nzwischen der\n\nEiche GmbH, Waldweg 3, 10115 Berlin\n- nachfolgend „Käufer“ -\n\n"
            "und der\n\nUlme AG, Am See 1\n",
            "Eiche GmbH",
            "Ulme AG",
        ),
        ("CONTRAT\n\nEntre les soussignés :\n\nChêne SARL, 3, rue Haute,\net\n\nOrme SA, 4, rue Basse,\n"
        "", "Chêne SARL", "Orme SA"),
        ("LEASE\n\nLandlord: Jo Oak\nTenant: Al Elm\n", "Jo Oak", "Al Elm"),
        ("LICENCE AGREEMENT\n\nLicensor: **Oak Ltd**\nLicensee: **Elm Archive**\n", "Oak Ltd", "Elm Archive"),
    ],
)  # fmt: skip
def test_the_parties_of_a_contract(text: Any, issuer: Any, counterparty: Any) -> None:
    value = read(text)
    assert (value["kind"], value["issuer"], value["counterparty"]) == ("contract", issuer, counterparty)


def test_prose_about_a_contract_is_no_party() -> None:
    assert head("INVOICE 3\nOak Ltd\nThe meeting between Monday and Friday.")[2:4] == ("Oak Ltd", None)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Invoice Number: A-1", "A-1"),
        ("Receipt # 88", "88"),
        ("# Invoice 2026-011", "2026-011"),
        ("RECHNUNG\n\nRechnungsnummer: 2026/7", "2026/7"),
        ("Facture n° : F-9", "F-9"),
        ("Fattura / Invoice: 88/2026", "88/2026"),
        ("Ticket n° 512 du 04/03/2026", "512"),
        ("Bon-Nr. 22   14.03.26", "22"),
        ("Agreement no. M-4", "M-4"),
        ("Invoice 0019, 2026/02/11", "0019"),
        ("INVOICE\n2026-02-22 20:14", None),
        ("INVOICE\nCustomer no. 9\nTax number 12/345", None),
        ("AGREEMENT\n\n1. Grant", None),
        ("RECEIPT\nTotal 4.00", None),
    ],
)
def test_the_number_of_a_document(text: Any, number: Any) -> None:
    assert read(text)["number"] == number


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("Fait à Lyon, le 3 mars 2026, en deux exemplaires.\n", "2026-03-03"),
        ("Der Vertrag beginnt am 01.05.2026.\n\nUlm, den 4. April 2026\n", "2026-04-04"),
        ("Made on: 3rd of March 2026\nEffective date: 1 April 2026", "2026-03-03"),
        ("Prend effet le 1er avril 2026. Fait à Brest, le 2 mars 2026.", "2026-03-02"),
        ("Date (MM/DD/YYYY): 03/04/2026", "2026-03-04"),
        ("5 Main St\nSpringfield, OH\n03/04/2026\nTotal $4.00", "2026-03-04"),
        ("5 Main St\nSpringfield, OH\n03/04/2026\nTotal £4.00", "2026-04-03"),
        ("Date: ##-##-20##", None),
    ],
)
def test_the_date_of_a_document(text: Any, iso: Any) -> None:
    assert read(f"RECEIPT\n{text}").get("date") == iso


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("Total paid: £22.00 (of which VAT £3.00)", 22.0),
        ("Total: £2.50 (paid by card)", 2.5),
        ("1 x Total Control (game) @ 9.00 9.00\nTotal: 9.50", 9.5),
        ("To pay ..... 17.65", 17.65),
        ("Zu bezahlen   CHF 1'334.50", 1334.5),
        ("Received with thanks from Jane Roe the sum of five pounds (£5.00).", 5.0),
        ("A flat fee of $900.00, half of it ($450.00) upon signing.", 900.0),
        ("Die Vergütung beträgt pauschal\n1.200,00 EUR, zahlbar in Raten von 100,00 EUR.", 1200.0),
        ("A yearly fee of EUR 390.00 is payable.", None),
        ("Rent: £875.00 per month\nDeposit: £1,000.00", None),
        ("It is insured for £38,000.00.", None),
        ("420 euros all in", 420.0),
        ("Eight payments of 75.00 GBP follow. The first is payable when the work begins.\nTotal GBP   600.00", 600.0),
    ],
)
def test_the_total_of_a_document(text: Any, total: Any) -> None:
    assert read(text)["total"] == total


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("| Work | Hours | Rate | Amount |\n|--|--|--|--|\n| Fix | 2 | 5.00 | 10.00 |\n", [("Fix", 2, 5.0, 10.0)]),
        (
            "No  What       How many   Each    Sum\n1   Bowl, red         4  18.00   72.00\n\n"
            "    Net                         72.00\n",
            [("Bowl, red", 4, 18.0, 72.0)],
        ),
        (
            "| Vino / Wine | Q.tà | Prezzo | Importo |\n| Rosso | 2 | 3,00 | 6,00 |\n+---+\n"
            "| Imponibile | | | 6,00 |\n",
            [("Rosso", 2, 3.0, 6.0)],
        ),
        ("SHOP\nOIL 2KG\n  1 X 9.00    9.00\nEGGS B\n  2 X 6.30   12.60\nTOTAL  21.60\n"
        "", [("OIL 2KG", 1, 9.0, 9.0), ("EGGS B", 2, 6.3, 12.6)]),
        ("Lunch ........ $7.50\nTea .......... $2.00\n\n"
        "Total ........ $9.50", [("Lunch", None, None, 7.5), ("Tea", None, None, 2.0)]),
        ("1 x Box @ 2.00 2.00\n\nGoods  2.00\nVAT  0.40\n", [("Box", 1, 2.0, 2.0)]),
        (
            "Description  Qty  Price  Amount\nNut     2   1.00   2.00\nCarried forward    2.00\n\nPage 2\n"
            "Description  Qty  Price  Amount\nBrought forward    2.00\nBolt    3   1.00   3.00\nTotal    5.00\n",
            [("Nut", 2, 1.0, 2.0), ("Bolt", 3, 1.0, 3.0)],
        ),
        ("CONTRACT\nThe fee is 900.00 USD and half of it is\npaid upon signing, that is 450.00\n", []),
        ("9.00\n4.00 4.00\nTotal 13.00", []),
        ("Soup, 25 guests ..... $50.00\n", [("Soup, 25 guests", None, None, 50.0)]),
        ("Rye bread 750 g   4.20 A\n", [("Rye bread 750 g", None, None, 4.2)]),
        ("2 x Jar, 10 ml @ 1.50 3.00\n", [("Jar, 10 ml", 2, 1.5, 3.0)]),
        ("Tea 100 bags  3  2.00  6.00\n", [("Tea 100 bags", 3, 2.0, 6.0)]),
        ("Article  Description  Qty  Price\nK-90     Board        2    4.00\n", [("Board", 2, 4.0, None)]),
        ("QTY ITEM      PRICE    AMT\n  3 RICE 5KG   2.00   6.00\n", [("RICE 5KG", 3, 2.0, 6.0)]),
        ("Item          Qty   Price   Amount\nShelf 900 mm    2    4.00     8.00\n", [("Shelf 900 mm", 2, 4.0, 8.0)]),
    ],
)  # fmt: skip
def test_every_position_says_what_it_is_for(text: Any, rows: Any) -> None:
    assert items(text) == rows


@pytest.mark.parametrize(
    "text",
    [
        "INVOICE\n\nInvoice number: 5\nBill to: Big Buyer\n\n3 x Wash @ 4.00 12.00\n\nTotal: £12.00\n"
        "(The top of this page, with its letterhead, was cut off.)",
        "INVOICE\n\nSeller: <<your company>>\nInvoice Date: <<date>>\nTotal: <<total>>",
        "RECEIPT\n\nCompany: {{company}}\nDate: {{date}}",
    ],
)  # fmt: skip
def test_no_issuer_is_made_up(text: Any) -> None:
    assert "issuer" not in read(text)


@pytest.mark.parametrize(
    "text",
    ["> " * 150_000, "**a" * 100_000, "# " * 150_000, "From: a\n" * 40_000, "(1) A\n" * 50_000, 'A ("' * 75_000,
     "between A and " * 20_000, "Invoice\n" * 40_000, "rechnung" * 40_000, "to:\n" * 70_000, "```\na\n" * 50_000,
     "fee " * 75_000 + "£1.00", "£1.00 " * 50_000, "A B C D " * 40_000 + '("x")', "1 x a @ 1.00 1.00\n" * 15_000],
)  # fmt: skip
def test_hostile_documents_take_no_time(text: Any) -> None:
    start = time.process_time()
    read(f"Subject: x\nx@x.example\n{text}")
    assert time.process_time() - start < 5
