"""JSON is read and written without losing a digit, and an invalid text raises only a ValueError."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from both_paths import both_paths
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kimi_beam.schema import jsontext

_numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)


def _exact(text: str) -> Any:
    """A number as `loads` gives it back, found out with the standard library alone."""
    return json.loads(text, parse_float=lambda d: float(d) if Decimal(repr(float(d))) == Decimal(d) else Decimal(d))


_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**300), 10**300),
    st.sampled_from([2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64 - 1, 2**64]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["0.10000000000000000001", "1e-400", "123456789.123456789123456789", "1.0000000000000000"]).map(
        _exact
    ),
    st.text(),
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


def _in_range(text: str) -> bool:
    number = Decimal(text)
    return abs(number.adjusted()) < 6_144


@settings(derandomize=True, max_examples=1_000)
@given(_numbers)
def test_a_number_keeps_every_digit_that_was_written(text: str) -> None:
    assume(_in_range(text))
    number = jsontext.loads(text)
    assert (Decimal(repr(number)) if isinstance(number, float) else Decimal(number)) == Decimal(text)
    assert isinstance(number, int) == text.lstrip("-").isdigit(), "an integer must come back as an integer"
    assert jsontext.loads(jsontext.dumps(number)) == number


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("9007199254740993", int),  # 2**53 + 1: no double holds it
        ("9223372036854775808", int),
        ("18446744073709551616", int),
        ("-9223372036854775809", int),
        ("1" * 300, int),
        ("1" * 4_300, int),
        ("0.1", float),
        ("0.30000000000000004", float),
        ("0.300000000000000040", float),  # equal in value, so a float will do
        ("0.1000000000000000000001", Decimal),
        ("1e-400", Decimal),
        ("1e400", Decimal),  # beyond what a double holds at all
        ("-1.5e6144", Decimal),
        ("1e22", float),
        ("1.7976931348623157e308", float),
    ],
)
def test_a_float_is_used_only_where_it_gives_the_digits_back(text: str, kind: type) -> None:
    number = jsontext.loads(text)
    assert type(number) is kind
    assert Decimal(repr(number) if kind is float else number) == Decimal(text)  # type: ignore[arg-type]


def test_minus_zero_keeps_its_sign_beside_a_number_that_takes_the_slow_way() -> None:
    for text in ("[-0.0]", "[-0.0,18446744073709551616]"):
        assert math.copysign(1, jsontext.loads(text)[0]) == -1


@settings(derandomize=True, max_examples=500)
@given(_values)
def test_what_is_written_is_read_back_with_its_types_and_the_order_of_its_keys(value: Any) -> None:
    assert repr(jsontext.loads(jsontext.dumps(value))) == repr(value)
    assert repr(jsontext.loads(jsontext.dumps_any(value))) == repr(value)


@settings(derandomize=True, max_examples=500)
@given(_values)
def test_what_is_written_is_json_for_everybody_else_too(value: Any) -> None:
    expected = json.dumps(value, default=lambda d: float(d))
    assert json.loads(jsontext.dumps(value)) == json.loads(expected)


def _shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shuffled(value[key]) for key in reversed(value)}
    return [_shuffled(item) for item in value] if isinstance(value, list) else value


@settings(derandomize=True, max_examples=300)
@given(_values)
def test_the_order_of_keys_does_not_change_the_canonical_bytes(value: Any) -> None:
    text = jsontext.canonical(value)
    assert jsontext.canonical(_shuffled(value)) == text
    assert jsontext.canonical(jsontext.loads(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "NaN",
        "-Infinity",
        '{"a":NaN}',
        '[123456789012345678901234567890,"x",NaN]',
        '{"a":1,}',
        "{'a':1}",
        "01",
        "1e-7000",
        "1e-99999999999999999999",
        "1e7000",
        "1" * 4_301,
        '"\\ud800"',
        '"\ud800"',
        '"a',
        "[1]x",
        b"\xff",
        b'"\xc3"',
        b"\xef\xbb\xbf1",
    ],
)
def test_what_is_no_json_or_out_of_range_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        jsontext.loads(text)


@pytest.mark.parametrize("leaf", ["", "123456789012345678901234567890"])
@pytest.mark.parametrize("depth", [201, 255, 1_000, 1_025, 100_000, 1_000_000])
def test_nesting_without_end_is_a_value_error_and_no_crash(depth: int, leaf: str) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")):
        for text in (opening * depth, opening * depth + (leaf or "0") + closing * depth):
            with pytest.raises(ValueError):
                jsontext.loads(text)


@pytest.mark.parametrize("leaf", ["0", "123456789012345678901234567890"])
def test_what_is_read_can_be_written_also_inside_something_else(leaf: str) -> None:
    value = jsontext.loads("[" * 200 + leaf + "]" * 200)
    written = {"/a": [{"b": value}]}
    assert jsontext.loads(jsontext.dumps(value)) == value
    assert json.loads(jsontext.dumps(written)) == written


def test_many_brackets_side_by_side_are_not_taken_for_depth() -> None:
    assert len(jsontext.loads("[" + "[{}]," * 10_000 + "0]")) == 10_001


@settings(derandomize=True, max_examples=1_000)
@given(
    st.one_of(
        st.binary(),
        st.text(alphabet='{}[]:,"\\ue0123456789+-.tfnNI \n', max_size=60),
        st.lists(st.sampled_from(['{"a":', "[", "]", "}", "1e5", "1" * 20, "null", ",", '"', "\\ud83d", "-"])).map(
            "".join
        ),
    )
)
def test_no_text_does_more_than_raise_a_value_error(text: str | bytes) -> None:
    try:
        value = jsontext.loads(text)
    except ValueError:
        return
    assert jsontext.loads(jsontext.dumps(value)) == value


@pytest.mark.parametrize("size", [1_000_000])
def test_a_megabyte_of_digits_does_not_take_minutes(size: int) -> None:
    assert jsontext.loads("0." + "1" * size) == Decimal("0." + "1" * size)
    assert len(jsontext.loads("[" + ",".join(["1.0000000000000000000001"] * (size // 25)) + "]")) == size // 25
    with pytest.raises(ValueError):
        jsontext.loads("1" * size)


@pytest.mark.parametrize("value", [{1, 2}, b"x", object(), [Decimal("NaN")], {"a": {"b": 1j}}, {1: 2}])
def test_what_json_has_no_form_for_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        jsontext.dumps(value)
    with pytest.raises(TypeError):
        jsontext.canonical(value)


def test_metadata_of_any_kind_is_written_all_the_same() -> None:
    metadata = {
        "set": {1},
        "bytes": b"x",
        "day": date(2026, 3, 1),
        "big": 1 << 70,
        "exact": Decimal("0.10000000000000000001"),
    }
    assert jsontext.loads(jsontext.dumps_any(metadata)) == {
        "set": "{1}",
        "bytes": "b'x'",
        "day": "2026-03-01",
        "big": 1 << 70,
        "exact": Decimal("0.10000000000000000001"),
    }
    assert jsontext.loads(jsontext.dumps_any({1: {2: {3}}, (4, 5): 6})) == {"1": {"2": "{3}"}, "(4, 5)": 6}
    assert jsontext.loads(jsontext.dumps_any({"half a pair \ud83d": "\udcff"})) == {"half a pair \\ud83d": "\\udcff"}


@pytest.mark.parametrize(
    "text",
    ['{"id":"chatcmpl-0123456789abcdef0123","n":12}', '{"id":"12345678901234567890"}', '{"k1234567890123456e10":1}'],
)
def test_digits_of_a_string_do_not_cost_the_fast_way(text: str) -> None:
    """Every reply has an id. If it were taken for a long number, every reply would be read several times slower."""
    assert not jsontext.may_exceed_double(text.encode())


_LONG = re.compile(r"[0-9.]{16}|[0-9.][eE][+-]?[0-9.]{3}")


def _holds_long_number(text: str) -> bool:
    """What `may_exceed_double` says, run by run: a long number where a value may stand."""
    runs = re.finditer(r"[0-9.eE+-]+", text)
    return any(_LONG.search(run.group()) for run in runs if run.start() == 0 or text[run.start() - 1] in ",:[ \t\n\r")


@settings(derandomize=True, max_examples=2_000)
@given(st.text(st.sampled_from('0123456789eE+-.:,[ "ab{}'), max_size=60) | st.from_regex(r"[,:\[ \n\"a][0-9.]{14,18}"))
def test_no_long_number_is_overlooked(text: str) -> None:
    assert jsontext.may_exceed_double(text.encode()) == _holds_long_number(text)


# ------------------------------------------------------------------------------------------------ at a glance

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
_odd = st.sampled_from(
    ['{"a":1,"a":2}', '{"a":0.1000000000000000000001}', "123456789012345678901", '{"a":1}</think>{"b":2}', "[1,]", ""]
)


def test_what_is_read_at_a_glance_is_what_a_closer_look_reads() -> None:
    with both_paths("at a glance", "a closer look", "no JSON") as taken:
        _what_is_read_at_a_glance_is_what_a_closer_look_reads(taken)


@settings(derandomize=True, max_examples=1_000)
@given(
    _values.map(lambda value: json.dumps(value)) | _odd, st.sampled_from(["{}", " {}\n", "```json\n{}\n```", "{} {}"])
)
def _what_is_read_at_a_glance_is_what_a_closer_look_reads(taken: Counter[str], written: str, around: str) -> None:
    text = around.replace("{}", written)
    at_a_glance = jsontext.loads_fast(text)
    if at_a_glance is None:
        with contextlib.suppress(ValueError):
            jsontext.loads_unique(text)
            taken["a closer look"] += 1
            return
        taken["no JSON"] += 1
    else:
        taken["at a glance"] += 1
        assert repr(at_a_glance) == repr(jsontext.loads_unique(text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a":1,"a":2}', "one of two values of a key would be lost"),
        ('{"total":1234567890123456789012}', "digits would be lost"),
        ('{"total":0.12345678901234567890}', "digits would be lost"),
        ("[" * 201 + "]" * 201, "nested too deep to be written inside something else"),
        ("not JSON", "no JSON"),
        ("\ud800", "no text"),
    ],
)
def test_what_is_not_plain_at_a_glance_is_left_to_a_closer_look(text: str, why: str) -> None:
    assert jsontext.loads_fast(text) is None, why


def test_a_usual_answer_is_plain_at_a_glance_however_it_is_spaced() -> None:
    answer = {"number": "A-1", "lines": [{"sku": "x", "quantity": 2, "price": 1.25}], "paid": False, "note": "é"}
    for text in (jsontext.dumps(answer).decode(), json.dumps(answer, indent=2, ensure_ascii=False)):
        assert jsontext.loads_fast(text) == answer
