"""Stand-ins tell nothing of their values, fit where these do, and are put back however an answer spells them."""

from __future__ import annotations

import json
import re
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kimi_beam as kb
from kimi_beam.errors import ConfigError
from kimi_beam.request import batches
from kimi_beam.request.batches import Item
from kimi_beam.request.redact_document import Redactor
from kimi_beam.request.sensitive_rules import SensitiveRule
from kimi_beam.request.splitting import Limits, joined, split
from kimi_beam.results.restored_replies import restored_document
from kimi_beam.results.stand_ins import Restorer
from kimi_beam.types.document import Document, Layout, Redacted
from kimi_beam.types.failure import Failure

IBAN, OTHER_IBAN = "DE89 3704 0044 0532 0130 00", "DE75 5121 0800 1245 1261 99"
RULES = Redactor.of("phone:DE,email,card,iban")
TEXT = f"Pay {IBAN} or {IBAN.replace(' ', '')},\ncard 4111-1111-1111-1111, Tel. 030 901820, Max@Firma.de.\n"


def redacted(text: str, redactor: Redactor = RULES, **more: Any) -> Document:
    return redactor.redact(Document("a", text, **more))


def restorer(document: Document) -> Restorer:
    assert document.redacted is not None
    return Restorer(document.redacted.redactions)


def stand_ins(document: Document) -> dict[str, str]:
    assert document.redacted is not None
    return {one.original: one.stand_in for one in document.redacted.redactions}


def test_a_value_has_one_stand_in_of_its_own_form_in_each_spacing() -> None:
    document = redacted(TEXT)
    made = stand_ins(document)
    assert len(made) == 5
    spaced, close = made[IBAN], made[IBAN.replace(" ", "")]
    assert spaced.replace(" ", "") == close
    assert [len(part) for part in spaced.split()] == [4, 4, 4, 4, 4, 2]
    assert list(SensitiveRule("iban")(spaced)), "the schema's pattern and a check sum must hold of it"
    assert list(SensitiveRule("card")(made["4111-1111-1111-1111"]))
    assert re.fullmatch(r"\d\d \d{6}", made["30 901820"])
    assert re.fullmatch(r"[a-z0-9.]+@redacted\.invalid", made["Max@Firma.de"])
    for original in made:
        assert original not in document.text
    assert document.text.startswith("Pay DE")


def test_a_stand_in_depends_on_the_form_and_never_on_the_value() -> None:
    one, other = (f"To {iban}, {card}, {mail}" for iban, card, mail in (
        (IBAN, "4111 1111 1111 1111", "a@b.de"), (OTHER_IBAN, "4012 8888 8888 1881", "someone@else.org"),
    ))  # fmt: skip
    assert redacted(one).text == redacted(other).text


def test_no_stand_in_stands_in_the_document_already() -> None:
    first = stand_ins(redacted(f"To {IBAN} and a@b.de"))
    again = redacted(f"To {IBAN} and a@b.de; not {first[IBAN]}, {first['a@b.de']}", metadata={"n": "PERSON_1"})
    assert not set(first.values()) & set(stand_ins(again).values()) - {IBAN}
    named = Redactor.of(lambda text: [(0, 3, "person")])
    assert stand_ins(redacted("Ann, see PERSON_1", named))["Ann"] != "<PERSON_1>"
    assert stand_ins(redacted("Ann, see nobody", named))["Ann"] == "<PERSON_1>"


_spans = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12), st.sampled_from(["person", "iban", "email"])))
_marks = st.lists(st.integers(0, 60), max_size=3).map(sorted).map(tuple)


@settings(derandomize=True, max_examples=500)
@given(st.text(alphabet='ab19 \n"\\<>é`', max_size=60), _spans, _marks)
def test_a_document_gets_back_exactly_what_it_held(text: str, drawn: Any, marks: tuple[int, ...]) -> None:
    wanted = [(start, start + size, kind) for start, size, kind in drawn if start + size <= len(text)]
    covered = {index for start, end, _ in wanted for index in range(start, end)}
    metadata = {"same": text, "list": [text, 7, None], "n": {"deep": "ab"}}
    starts = tuple(mark for mark in marks if mark <= len(text) and not {mark - 1, mark} <= covered)
    document = Document("a", text, metadata=metadata, layout=Layout(starts))
    found = Redactor.of(lambda one: wanted if one == text else []).redact(document)
    assert restored_document(found) == document
    if not covered:
        assert found is document
        return
    assert found.redacted is not None
    in_text = [one for one in found.redacted.redactions if one.start >= 0]
    assert sum(len(one.original) for one in in_text) == len(covered), "each character once"
    for one in in_text:
        assert found.text[one.start : one.start + len(one.stand_in)] == one.stand_in
    assert all(first.start + len(first.stand_in) <= second.start for first, second in pairwise(in_text))
    (travelled,) = batches.decode(batches.encode([Item(found, 1)]))
    assert travelled == found, "what waits in state must not lose the values"
    assert found.layout is not None
    for before, after in zip(starts, found.layout.page_starts, strict=True):
        assert text[before : before + 1] in ("", found.text[after : after + 1]) or before in covered


def test_the_parts_of_a_redacted_document_are_joined_to_it() -> None:
    document = redacted("\n".join(f"line {number}: {IBAN}, u{number}@b.de" for number in range(60)))
    parts = split(document, Limits(120, 10_000))
    assert len(parts) > 3
    whole = joined(parts)
    assert restored_document(whole).text == restored_document(document).text
    assert whole.redacted == document.redacted


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        ("{iban}", IBAN),
        ("{close}", IBAN.replace(" ", "")),
        ("IBAN {iban}, please", f"IBAN {IBAN}, please"),
        ("{dashed}", IBAN.replace(" ", "-")),
        ("{lower}", IBAN.replace(" ", "").lower()),
        ("{mail}", "Max@Firma.de"),
        ("{MAIL}", "Max@Firma.de"),
        ("+49 {phone}", "+49 30 901820"),
        ("{card} ({card})", "4111-1111-1111-1111 (4111-1111-1111-1111)"),
    ],
)
def test_an_answer_gets_the_value_in_its_own_spacing(answered: str, expected: str) -> None:
    document = redacted(TEXT)
    made = stand_ins(document)
    iban = made[IBAN]
    close = iban.replace(" ", "")
    spelt = {"iban": iban, "close": close, "dashed": iban.replace(" ", "-"), "lower": close.lower()}
    spelt |= {"mail": made["Max@Firma.de"], "MAIL": made["Max@Firma.de"].upper(), "phone": made["30 901820"]}
    answer = answered.format(**spelt, card=made["4111-1111-1111-1111"])
    assert restorer(document).restored(answer) == expected
    assert not restorer(document).has_pieces(json.dumps({"a": answer}), TEXT)


def test_a_value_is_put_back_into_json_as_json_even_where_it_is_a_number() -> None:
    named = Redactor.of([lambda text: [(4, 16, "person")], *RULES.finders])
    text = 'Mr. Jo "\\n" Löw\n Tel. 030 901820, card 4111111111111111.'
    document = redacted(text, named)
    made = stand_ins(document)
    card = made["4111111111111111"]
    answer = json.dumps({"who": made['Jo "\\n" Löw\n'], "card": int(card)})
    escaped = answer.replace("<", "\\u003c").replace(">", "\\u003E")
    for one in (answer, escaped):
        restored = restorer(document).restored(one, lambda value: json.dumps(value)[1:-1])
        assert json.loads(restored) == {"who": 'Jo "\\n" Löw\n', "card": 4111111111111111}


@pytest.mark.parametrize(
    "piece", ["{card:8}", "{iban:8}", "{iban:4}", "x@redacted.invalid", "{local}", "PERSON_1", "{card:-4}"]
)
def test_a_piece_of_a_stand_in_is_noticed(piece: str) -> None:
    named = Redactor.of([lambda text: [(0, 3, "person")], *RULES.finders])
    document = redacted(f"Ann {TEXT}", named)
    made = stand_ins(document)
    card = made["4111-1111-1111-1111"].replace("-", "")
    shown = {
        "{card:8}": card[4:12],
        "{iban:4}": made[IBAN][:4],
        "{card:-4}": card[-4:],
        "{iban:8}": made[IBAN].replace(" ", "")[4:12],
    }
    shown["{local}"] = made["Max@Firma.de"].partition("@")[0]
    answer = json.dumps({"a": shown.get(piece, piece)})
    assert restorer(document).has_pieces(answer, f"Ann {TEXT}")
    assert not restorer(document).has_pieces('{"a": "3704 of 2026", "n": 4711}', f"{TEXT} 2026 4711")


def test_a_value_of_its_own_is_no_piece_of_a_stand_in() -> None:
    named = Redactor.of([lambda text: [(0, 3, "person")], *RULES.finders])
    few = redacted(f"Ann {TEXT}", named)
    kinds = '{"kind": "person", "state": "invalid", "note": "redacted", "label": "IBAN", "n": 1}'
    assert not restorer(few).has_pieces(kinds, f"Ann {TEXT}")
    many = "".join(f"{iban_of(n)}, +49 30 9{n:06}\n" for n in range(1_000))
    back = restorer(redacted(many, Redactor.of("iban,phone")))
    derived = [number for number in range(1_000, 9_999, 7) if str(number) not in many]
    noticed = sum(back.has_pieces(json.dumps({"n": number}), many) for number in derived)
    assert len(derived) > 100
    assert noticed == 0, "of many stand-ins any short number is a piece by chance"
    few_noticed = sum(restorer(few).has_pieces(json.dumps({"n": number}), TEXT) for number in range(1_000, 9_999))
    assert few_noticed <= 10, "of a few, one in a thousand"


@pytest.mark.parametrize(
    "finder",
    [
        lambda text: 1 / 0,
        lambda text: [(0, len(text) + 1, "person")],
        lambda text: [(3, 3, "person")],
        lambda text: [(True, 3, "person")],
        lambda text: [(0, 3)],
        lambda text: [(0, 3, "a person")],
        lambda text: [(0, 3, None)],
        lambda text: ["secret"],
        lambda text: (_ for _ in ()).throw(ValueError(text)),
    ],
)
def test_a_document_whose_finder_fails_is_not_sent_and_nothing_of_it_is_kept(finder: Any) -> None:
    document = redacted("SECRET text", Redactor.of(finder), metadata={"a": "SECRET"})
    assert document.failure is not None
    assert (document.failure.stage, document.failure.code) == ("prompt", "unredactable")
    assert "SECRET" not in repr(document)


def test_a_picture_is_sent_only_if_the_user_says_so() -> None:
    scan = Document("a", f"To {IBAN}", ("data:image/png;base64,AAAA",))
    refused = RULES.redact(scan)
    assert refused.failure is not None
    assert (refused.failure.code, refused.images, refused.text) == ("unredactable", (), "")
    allowed = Redactor.of("iban", "allow").redact(scan)
    assert (allowed.failure, allowed.images) == (None, scan.images)
    assert IBAN not in allowed.text


def test_what_could_not_be_read_is_told_without_its_bytes() -> None:
    failure = Failure("read", "not_json", f"line 3 holds {IBAN}", raw="U0VDUkVU")
    document = RULES.redact(Document("a", f"{IBAN}", failure=failure))
    assert document.failure is not None
    assert IBAN not in repr((document.failure, document.text))
    assert (document.failure.code, document.failure.raw) == ("not_json", None)


def test_a_document_without_a_sensitive_value_stays_as_it_is() -> None:
    document = Document("a", "Total 24.80", metadata={"n": 1})
    assert RULES.redact(document) is document
    again = redacted(TEXT)
    assert RULES.redact(again) is again, "a dead letter that goes round in its pipeline"
    assert "Max" not in repr(Redacted(again.redacted.redactions if again.redacted else ()))


@pytest.mark.parametrize("redact", ["", "iban,names", [], [3], "phone:de"])
def test_what_finds_nothing_is_refused_while_the_pipeline_is_built(redact: Any) -> None:
    with pytest.raises(ConfigError, match="redact"):
        kb.Extract({"type": "object"}, service=kb.WorkersAI("0" * 32), redact=redact)


def test_a_list_of_thousands_of_members_is_redacted_and_restored_in_seconds() -> None:
    text = "".join(f"Member {n}: m{n}@club.example, {iban_of(n)}\n" for n in range(3_000))
    start = time.process_time()
    document = redacted(text, Redactor.of("email,iban"))
    assert document.redacted is not None
    assert len({one.stand_in for one in document.redacted.redactions}) == len(document.redacted.redactions) == 6_000
    lines = [line.split(": ")[1].split(", ") for line in document.text.splitlines()]
    answer = json.dumps([{"mail": mail, "iban": iban} for mail, iban in lines])
    back = restorer(document)
    assert not back.has_pieces(answer, text)
    restored = json.loads(back.restored(answer))
    assert restored == [{"mail": f"m{n}@club.example", "iban": iban_of(n)} for n in range(3_000)]
    assert restored_document(document).text == text
    assert time.process_time() - start < 10, "a way that compares each with each takes minutes"


def iban_of(number: int) -> str:
    account = f"50010517{5407324900 + number:010}"
    return f"DE{98 - int(f'{account}131400') % 97:02}{account}"


def test_functions_that_the_model_calls_are_refused_with_redaction() -> None:
    def look_up(name: str) -> str:
        """Looks a name up."""
        return name

    with pytest.raises(ConfigError, match="tools would get stand-ins"):
        kb.Extract({"type": "object"}, service=kb.WorkersAI("0" * 32, api="run"), redact="iban", tools=[look_up])
