"""An answer is validated by the user's class where its JSON Schema cannot, and the row holds the class's value."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
import strict_models as models
from pydantic import AfterValidator, BaseModel, TypeAdapter

from kimi_beam.results.judging import judge
from kimi_beam.results.settle_replies import Question, extractions, settle
from kimi_beam.schema import ADDITIONAL, OutputSchema, jsontext
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document
from kimi_beam.types.extraction import Extraction
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import Ticket


def given(model: Any, instance: Any) -> Any:
    """What the row's instance is, or the failure's code; the same where the class has travelled."""
    schema = OutputSchema(model)
    text = instance if isinstance(instance, str) else json.dumps(instance)
    found = judge(text, schema)
    assert judge(text, pickle.loads(pickle.dumps(schema))) == found
    return found.code if isinstance(found, Failure) else found.value


def row(model: Any, instance: Any) -> dict[str, Any]:
    asked = Question(OutputSchema(model), "m")
    text = instance if isinstance(instance, str) else jsontext.dumps(instance).decode()
    settled = settle(
        [Reply(Document("d", "t"), Completion(text, "stop", None, None), Usage(), Ticket("r", 1))], asked, 0.0
    )
    (outcome,) = [*extractions(settled, asked), *settled.dead_letters]  # type: ignore[misc]
    if isinstance(outcome, DeadLetter):
        assert outcome.failure.raw == text
        return {"failed": (outcome.failure.stage, outcome.failure.code)}
    assert isinstance(outcome, Extraction)
    (found,) = settled.rows.to_pylist()
    return {name: value for name, value in found.items() if name not in ("_document_id", "_metadata", "_provenance")}


@pytest.mark.parametrize(
    ("model", "good", "bad"),
    [
        (models.Since2020, "2020-01-01", "2019-12-31"),
        (models.Past, "2020-01-01", "2999-01-01"),
        (models.Future, "2999-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
        (models.Listed, "[1, 2]", '["x"]'),
        (models.Listed, "[]", "[1"),
        (models.Naive, "2020-01-01T10:00:00", "2020-01-01T10:00:00Z"),
        (models.Naive, "2020-01-01T10:00:00.5", "2020-01-01T10:00:00+02:00"),
        (models.Aware, "2020-01-01T10:00:00Z", "2020-01-01T10:00:00"),
        (models.Secure, "https://example.com/", "http://example.com/"),
        (models.Ip, "1.2.3.4", "1.2.3.400"),
        (models.Short, "PT1H", "PT2H"),
        (models.Odd, 3, 4),
        (models.Digits, 12.34, 12.345),
        (models.Digits, "12.34", "12.345"),
        (models.Bytes, "abc", "abcd"),
        (models.Bytes, "é", "éé"),
        (models.Strict, 1, 1.0),
        (models.Stream, [1, 2], ["x"]),
        (models.Either, "2020-01-01", "2019-01-01"),
        (models.Either, 5, None),
        (models.Nested, [{"a": {"v": "2020-01-01"}}], [{"a": {"v": "2019-01-01"}}]),
        (models.Pet, {"kind": "cat", "born": "2020-01-01"}, {"kind": "cat", "born": "2999-01-01"}),
        (models.Pet, {"kind": "dog"}, {"kind": "fish"}),
        (models.Chosen, {"kind": "dated", "day": "2020-01-01"}, {"kind": "dated"}),
        (models.Chosen, {"kind": "plain", "day": "2020-01-01"}, {"kind": "dated", "day": "2999-01-01"}),
    ],
    ids=str,
)
def test_what_no_json_schema_says_is_enforced_and_what_is_fine_stays_as_it_is(model: Any, good: Any, bad: Any) -> None:
    assert given(model, {"v": good}) == {"v": good}
    assert given(model, {"v": bad}) == "schema_violation"
    schema = OutputSchema(model)
    assert (schema.is_valid({"v": good}), schema.is_valid({"v": bad})) == (True, False)
    assert schema.validate({"v": bad})
    assert schema.explain({"v": bad})
    assert row(model, {"v": bad}) == {"failed": ("validate", "schema_violation")}
    assert "failed" not in row(model, {"v": good})


def test_sources_that_are_no_models_are_asked_too() -> None:
    for model in (models.Row, models.Line):
        assert given(model, {"day": "2019-01-01"}) == "schema_violation"
    assert given(models.Row, {"day": "2020-01-01"}) == {"day": "2020-01-01"}
    assert given(models.Row, {"day": "2020-01-01", "note": " x ", "more": 1}) == {
        "day": "2020-01-01",
        "note": "x",
        "more": 1,
    }
    assert given(models.Line, {"day": "2020-01-01"}) == {"day": "2020-01-01", "tags": []}
    assert given(models.Root, ["2020-01-01"]) == ["2020-01-01"]
    assert given(models.Root, ["2999-01-01"]) == "schema_violation"


def test_a_local_time_is_a_column_without_a_zone() -> None:
    assert row(models.Naive, {"v": "2020-01-01T10:00:00"}) == {"v": datetime(2020, 1, 1, 10), ADDITIONAL: None}
    assert "date-time" not in json.dumps(OutputSchema(models.Naive).response_format)


# ------------------------------------------------------------------------------------------------ what it changes


def test_the_row_holds_what_the_class_gives_back_in_the_shape_of_the_columns() -> None:
    answer = {
        "name": " acme ",
        "gone": "N/A",
        "tags": ["b", "a", "b"],
        "lines": [{"sku": "x", "unknown": 1}],
        "shown": "s",
        "sum": 5,
        "unknown": {"a": 1},
    }
    assert given(models.Cleaned, {**answer, "total": 7}) == {
        "unknown": {"a": 1},
        "name": "ACME",
        "currency": "EUR",
        "gone": None,
        "tags": ["a", "b"],
        "lines": [{"unknown": 1, "sku": "X", "price": 0.1}],
        "hidden": "h",
        "total": 7,
        "shown": "s",
    }
    found = row(models.Cleaned, {"name": " acme ", "sum": 5})
    assert found == {
        "name": "ACME",
        "currency": "EUR",
        "note": None,
        "gone": None,
        "tags": [],
        "lines": [],
        "hidden": "h",
        "total": 5.0,
        "shown": "plain",
        ADDITIONAL: None,
    }


def test_a_null_for_what_has_a_default_is_the_default() -> None:
    found = judge('{"name": "A", "currency": null, "shown": null}', OutputSchema(models.Cleaned))
    assert not isinstance(found, Failure)
    assert (found.value["currency"], found.value["shown"], found.nulls) == ("EUR", "plain", 2)


def test_items_that_the_class_moves_take_their_own_keys_along() -> None:
    items = [{"sku": "B", "price": 1, "n": 1}, {"sku": "A", "price": 2, "n": 2}, {"sku": "C", "price": 3}]
    assert given(models.Items, {"items": items})["items"] == [items[1], items[0], items[2]]
    assert given(models.Firsts, {"items": items})["items"] == items[1:]
    lower = [{"sku": "b", "n": 1}, {"sku": "c", "n": 2}]
    assert given(models.Items, {"items": lower})["items"] == [
        {"sku": "B", "price": 0.1, "n": 1},
        {"sku": "C", "price": 0.1, "n": 2},
    ]


def test_free_keys_and_values_before_validation_are_the_classs_too() -> None:
    assert given(models.Open, {"a": 1, "b": " x "}) == {"a": 1, "b": "X"}
    assert given(models.Renamed, {"total": 1.5}) == {"total": 3.0}
    assert given(models.Tagged, {"v": " x"}) == {"v": "X"}
    assert given(models.Tree, {"name": "a", "children": [{"name": "b", "more": 1}]}) == {
        "name": "A",
        "children": [{"name": "B", "children": [], "more": 1}],
    }


def test_decimals_keep_their_form_and_their_digits() -> None:
    class Money(BaseModel):
        net: Decimal
        gross: float

    for net in ("1.50", "1.5", "12345678901234567890.125", "0.1000000000000000000000001", '"1.50"', '"0.10"', "3"):
        text = f'{{"net":{net},"gross":{net.strip(chr(34))}}}'
        found = judge(text, OutputSchema(Money))
        assert not isinstance(found, Failure)
        assert found.value == jsontext.loads(text)
        assert jsontext.same(found.value, jsontext.loads(text))


# ------------------------------------------------------------------------------------------------ and what it leaves

EVERYTHING = {
    "day": "2021-01-02",
    "at": "2021-01-02T03:04:05Z",
    "lasts": "P1D",
    "id": "6283595c-babb-4dd6-b8a7-f796876f490f",
    "size": "s",
    "amount": 1.5,
    "exact": "1.50",
    "ratio": 1,
    "url": "http://example.com/",
    "ip": "1.2.3.4",
    "path": "a/b",
    "secret": "s",
    "raw": "abc",
    "coded": "AAH/",
    "listed": "[1, 2]",
    "bag": ["b", "a", "c"],
    "pair": [1, "x"],
    "last": [1, 2],
    "by_day": {"2021-01-02": 1},
    "row": {"day": "2021-01-02", "more": 1},
    "line": {"day": "2021-01-02", "tags": [], "more": 2},
    "stream": [1, 2],
    "anything": {"a": [1.5, None, "2021-01-02"]},
    "custom": "x/y",
    "more": {"k": 1},
}


def test_a_class_that_changes_nothing_leaves_the_row_as_it_is_without_it() -> None:
    assert given(models.Everything, EVERYTHING) == EVERYTHING
    without = OutputSchema(TypeAdapter(models.Everything).json_schema())
    (expected,) = without.to_arrow([EVERYTHING])[0].to_pylist()
    found = row(models.Everything, EVERYTHING)
    decimals = {"exact": None, "amount": None}
    assert {**found, **decimals} == {**expected, **decimals}
    assert (found["exact"], found["amount"]) == (Decimal("1.50"), Decimal("1.5")), "each decimal is one column"


@pytest.mark.parametrize("text", ["P400D", "PT36H", "P1Y", "PT90M", "P2W", "PT0S", "PT1H30M"])
def test_a_duration_stays_as_it_was_written(text: str) -> None:
    assert given(models.Holder[timedelta], {"v": text}) == {"v": text}


def test_a_duration_that_the_class_changes_is_one_of_json_schema_still() -> None:
    doubled = models.Holder[Annotated[timedelta, AfterValidator(lambda found: found * 2)]]
    for text, twice in [("P400D", "P800D"), ("PT18H", "P1DT12H"), ("PT0S", "PT0S"), ("PT45M30S", "PT1H31M")]:
        assert given(doubled, {"v": text}) == {"v": twice}
        assert OutputSchema(TypeAdapter(doubled).json_schema()).is_valid({"v": twice})
    assert given(models.Holder[Annotated[timedelta, AfterValidator(lambda found: found / 4)]], {"v": "PT1S"}) == {
        "v": "PT0.25S"
    }


def test_what_a_dataclass_works_out_for_itself_is_the_rows() -> None:
    assert given(models.Counted, {"word": "abc", "letters": 9}) == {"word": "abc", "letters": 3}
    assert given(models.Counted, {"word": "abc"}) == {"word": "abc", "letters": 3}
    assert row(models.Counted, {"word": "abc"}) == {"word": "abc", "letters": 3, ADDITIONAL: None}


def test_classes_of_one_name_are_told_apart() -> None:
    """A notebook defines a class again, a function makes several, and a generic class names its variants alike."""

    def made(least: int) -> type[BaseModel]:
        def add(n: int) -> int:
            return n + least

        class Made(BaseModel):
            n: Annotated[int, AfterValidator(add)]

        return Made

    one, ten = made(1), made(10)
    first, second = OutputSchema(one), OutputSchema(ten)
    for schema, n in ((first, 1), (second, 10), (first, 1), (OutputSchema(one), 1)):
        for travelled in (schema, pickle.loads(pickle.dumps(schema))):
            found = judge('{"n": 0}', travelled)
            assert not isinstance(found, Failure)
            assert found.value == {"n": n}


def test_a_set_has_one_order_in_each_process(tmp_path: Path) -> None:
    code = "import sys, json; sys.path[:0] = sys.argv[1:]; import test_schema_class_values as t; t.print_bag()"
    orders = {
        subprocess.run(
            [sys.executable, "-c", code, Path(__file__).parent, Path(__file__).parents[1]],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(orders) == 1


def print_bag() -> None:
    print(given(models.Everything, {**EVERYTHING, "bag": [*"zyxwvuts", "z"][:8]})["bag"])  # noqa: T201


def test_what_the_columns_or_json_cannot_hold_is_a_type_mismatch() -> None:
    for model in (models.Misfit, models.Opaque, models.Infinite):
        assert row(model, {"n": 1}) == {"failed": ("type", "type_mismatch")}
        assert row(model, {"n": 2})["n"] == 2
    assert row(models.Halves, {"n": "x"}) == {"failed": ("type", "type_mismatch")}


def test_a_bad_answer_of_a_class_never_costs_its_neighbours() -> None:
    asked = Question(OutputSchema(models.Halves), "m")
    texts = ['{"n": "a"}', '{"n": "x"}', '{"n": 1}', '{"n": "b"}']
    replies = [
        Reply(Document(text, "t"), Completion(text, "stop", None, None), Usage(), Ticket("r", 1)) for text in texts
    ]
    settled = settle(replies, asked, 0.0)
    assert settled.rows.column("n").to_pylist() == ["a", "b"]
    assert [letter.document.id for letter in settled.dead_letters] == texts[1:3]


def kinds() -> Iterator[tuple[str, Any]]:
    for name, found in vars(models).items():
        if isinstance(found, type) and issubclass(found, BaseModel) and found is not BaseModel:
            yield name, found


@pytest.mark.parametrize(("name", "model"), list(kinds()))
def test_each_of_these_classes_is_asked(name: str, model: Any) -> None:
    assert OutputSchema(model).has_class is (name not in ("Holder", "Dog", "Plain", "RootModel"))
