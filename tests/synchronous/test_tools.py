"""Functions that the model calls: declared as they are, called with what fits, and never the end of a bundle."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import pydantic
import pytest
from exchanges import json_values
from hypothesis import given, settings
from hypothesis import strategies as st

from kimi_beam.errors import ConfigError
from kimi_beam.synchronous.tools import Tool, answer, declared
from kimi_beam.wire.completions import ToolCall, ToolCalls


@dataclass
class Place:
    name: str
    inhabitants: int


def look_up(postcode: str, country: Literal["DE", "AT"] = "DE", *, limit: int | None = None) -> Place:
    """The town of a
    postcode.

    Not told: how.
    """
    return Place(f"{country}-{postcode}", limit or 7)


async def rate(currency: Annotated[str, pydantic.Field(pattern="^[A-Z]{3}$", description="ISO 4217")]) -> str:
    await asyncio.sleep(0)
    return f"1 {currency} = 1.08 USD"


def fail(kind: str) -> None:
    raise {"os": OSError, "key": KeyError, "stop": StopIteration, "rec": RecursionError}[kind](f"no {kind}\nat all")


def weird(kind: str) -> Any:
    return {
        "surrogate": "\ud83d",
        "nested": {"a": ["\udcff"]},
        "nan": float("nan"),
        "big": 2**70,
        "bytes": b"\xff",
        "object": object(),
        "set": {1},
        "none": None,
        "list": [Place("x", 1)],
    }[kind]


def deep() -> Any:
    value: Any = 1
    for _ in range(2_000):
        value = [value]
    return value


def call(function: Callable[..., Any], arguments: str) -> str:
    return asyncio.run(Tool(function).call(arguments))


def error_of(said: str) -> str:
    content = json.loads(said)
    assert list(content) == ["error"]
    return str(content["error"])


# ------------------------------------------------------------------------------------------------ declared


def test_a_function_is_declared_by_its_signature_and_the_first_lines_of_its_docstring() -> None:
    declaration = Tool(look_up).declaration
    assert json.loads(json.dumps(declaration)) == {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "The town of a postcode.",
            "parameters": {
                "type": "object",
                "properties": {
                    "postcode": {"title": "Postcode", "type": "string"},
                    "country": {"title": "Country", "type": "string", "enum": ["DE", "AT"], "default": "DE"},
                    "limit": {"title": "Limit", "anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
                },
                "required": ["postcode"],
                "additionalProperties": False,
            },
        },
    }
    currency = Tool(rate).declaration["function"]["parameters"]["properties"]["currency"]
    assert (currency["description"], currency["pattern"]) == ("ISO 4217", "^[A-Z]{3}$")


def test_a_function_without_parameters_hints_or_docstring_is_declared() -> None:
    def plain(anything):  # type: ignore[no-untyped-def]
        return anything

    assert Tool(deep).declaration["function"]["parameters"]["properties"] == {}
    assert Tool(plain).declaration["function"]["description"] == ""


class Callable_:  # noqa: N801
    """A callable whose class has hints."""

    a: int

    def __call__(self, a: int) -> int:
        return a


def unknown_type(a: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Refers to what is not there."""


@pytest.mark.parametrize(
    "function",
    [
        lambda *args: None,
        lambda **kwargs: None,
        lambda a: a,  # a name that no service takes
        print,
        len,
        partial(look_up, "1"),
        Callable_(),
        unknown_type,
        5,
        None,
        "look_up",
    ],
    ids=range(11),
)
def test_what_cannot_be_declared_is_the_users_mistake_in_one_line(function: Any) -> None:
    with pytest.raises(ConfigError, match=r"^tools: ") as e:
        declared([function])
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 400


def test_parameters_that_no_schema_describes_are_the_users_mistake() -> None:
    def odd(a: Callable[[], None]) -> None: ...

    def foreign(a: asyncio.Event) -> None: ...

    def positional(a: int, /) -> None: ...

    def hidden(_a: int) -> None: ...

    for function in (odd, foreign, positional, hidden):
        with pytest.raises(ConfigError, match=f"tools: {function.__name__} cannot be declared"):
            Tool(function)


def test_two_functions_of_one_name_are_refused() -> None:
    def rate() -> None: ...

    with pytest.raises(ConfigError, match="two functions are called rate"):
        declared([rate, globals()["rate"]])
    assert [tool.name for tool in declared([look_up, globals()["rate"]])] == ["look_up", "rate"]


def test_a_tool_is_the_same_on_the_worker() -> None:
    tool = Tool(look_up)
    asyncio.run(tool.call('{"postcode":"1"}'))  # what was made to call it must not travel
    other = pickle.loads(pickle.dumps(tool))
    assert (other, other.declaration) == (tool, tool.declaration)
    assert asyncio.run(other.call('{"postcode":"1"}')) == '{"name":"DE-1","inhabitants":7}'


# ------------------------------------------------------------------------------------------------ called


def test_a_function_is_called_with_values_of_its_own_types() -> None:
    assert json.loads(call(look_up, '{"postcode":"10115","limit":3}')) == {"name": "DE-10115", "inhabitants": 3}
    assert call(rate, '{"currency":"EUR"}') == "1 EUR = 1.08 USD"
    assert call(deep, "").startswith("[[") or "error" in call(deep, "")


@pytest.mark.parametrize(
    "arguments",
    [
        *("", "{", "[]", "null", '"x"', "{}", '{"postcode":5}', '{"postcode":"1","country":"FR"}'),
        *('{"postcode":"1","x":1}', "\ud83d", '{"postcode":"\ud83d"}', '{"postcode":"\\ud83d"}'),
        *("[" * 100_000, '{"postcode":' * 100_000, "9" * 5_000),
    ],
    ids=range(15),
)
def test_arguments_that_do_not_fit_go_back_to_the_model_as_one_line(arguments: str) -> None:
    told = error_of(call(look_up, arguments))
    assert told.startswith("the arguments do not fit")
    assert "\n" not in told
    assert len(told) <= 500


@pytest.mark.parametrize("kind", ["os", "key", "stop", "rec"])
def test_what_a_function_raises_goes_back_to_the_model(kind: str) -> None:
    told = error_of(call(fail, json.dumps({"kind": kind})))
    assert f"no {kind}" in told
    assert "\n" not in told


@pytest.mark.parametrize("kind", ["surrogate", "nested", "nan", "big", "bytes", "object", "set", "none", "list"])
def test_whatever_a_function_returns_makes_a_message_that_can_be_sent(kind: str) -> None:
    calls = ToolCalls((ToolCall("c", "weird", json.dumps({"kind": kind})),))
    turn, result = asyncio.run(answer(calls, declared([weird])))
    assert json.loads(turn)["content"] == ""
    message = json.loads(result.decode())
    assert (message["role"], message["tool_call_id"]) == ("tool", "c")
    assert isinstance(message["content"], str)


def test_the_turns_are_the_contracts() -> None:
    calls = ToolCalls(
        (ToolCall("c1", "rate", '{"currency":"EUR"}'), ToolCall("c2", "nobody", "{}")), "I look.", "Which rate?"
    )
    turn, rate_, nobody = (json.loads(message) for message in asyncio.run(answer(calls, declared([rate]))))
    assert turn == {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "rate", "arguments": '{"currency":"EUR"}'}},
            {"id": "c2", "type": "function", "function": {"name": "nobody", "arguments": "{}"}},
        ],
        "reasoning": "Which rate?",
    }
    assert rate_ == {"role": "tool", "tool_call_id": "c1", "content": "1 EUR = 1.08 USD"}
    assert nobody["tool_call_id"] == "c2"
    assert "there is no function 'nobody'" in error_of(nobody["content"])
    bare = json.loads(asyncio.run(answer(ToolCalls(calls.calls), declared([rate])))[0])
    assert bare["content"] == "", "null is refused (5006)"
    assert "reasoning" not in bare


_texts = st.text(max_size=9) | st.sampled_from(["look_up", "weird", "\ud83d", "{}", '{"kind":"nested"}', "x" * 9_999])


@settings(derandomize=True, max_examples=200)
@given(
    st.lists(st.builds(ToolCall, _texts, _texts, _texts | json_values.map(json.dumps)), min_size=1, max_size=3),
    _texts,
    _texts,
)
def test_whatever_the_model_calls_each_call_gets_its_message_in_order(
    calls: list[ToolCall], text: str, reasoning: str
) -> None:
    turn, *results = asyncio.run(answer(ToolCalls(tuple(calls), text, reasoning), declared([look_up, weird])))
    assert len(results) == len(calls)
    known = [one["id"] for one in json.loads(turn)["tool_calls"]]
    assert [json.loads(result)["tool_call_id"] for result in results] == known
