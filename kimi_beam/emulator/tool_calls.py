"""Tools: reads the functions that a request declares, and decides which of them the stand-in calls.

A function that is named by ``tool_choice`` is called, as on Kimi [observed: the named form is enforced]. If the model
may choose, a rule replaces its judgement: it calls the functions that the chat names, and those whose required
parameters the document answers, each once after the user's last turn. The arguments are filled in by the same rules as
an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from kimi_beam.emulator.chat import text_of
from kimi_beam.emulator.refusals import BadInput, Refused


@dataclass(frozen=True)
class Function:
    """A declared function; ``parameters`` is its JSON Schema."""

    name: str
    parameters: Any


@dataclass(frozen=True)
class Tools:
    """The tools of a request.

    Attributes:
        functions: The declared functions in the order of the request.
        choice: Whether a function must be called.
        named: The only function to call, for the choice ``named``.
        parallel: Whether several functions may be called at once.
    """

    functions: tuple[Function, ...] = ()
    choice: Literal["none", "auto", "required", "named"] = "auto"
    named: str = ""
    parallel: bool = True


def read(request: Mapping[str, Any]) -> Tools:
    """Read ``tools``, ``tool_choice`` and ``parallel_tool_calls``.

    Raises:
        BadInput: A tool is no function [documented: input schema].
        Refused: 8001, the choice does not exist [observed: ``any``] or names no declared function [assumed].
    """
    declared = request.get("tools")
    if not isinstance(declared, list | None):
        raise BadInput("Type mismatch of '/tools', 'array' expected")
    functions = tuple(_function(tool) for tool in declared or ())
    choice = request.get("tool_choice")
    parallel = request.get("parallel_tool_calls") is not False
    if choice is None or choice in ("none", "auto"):
        return Tools(functions, choice or "auto", "", parallel)
    if not functions:
        raise Refused(8001, "AiError: AiError: Invalid input: tool_choice without tools")
    if choice == "required":
        return Tools(functions, "required", "", parallel)
    wanted = choice.get("function") if isinstance(choice, Mapping) and choice.get("type") == "function" else None
    name = wanted.get("name") if isinstance(wanted, Mapping) else None
    if name not in [function.name for function in functions]:
        raise Refused(8001, f"AiError: AiError: Invalid input: tool_choice {str(choice)[:100]!r}")
    return Tools(functions, "named", str(name), parallel)


def chosen(
    tools: Tools, messages: Sequence[Mapping[str, Any]], *, binding: bool, fills: Callable[[Function], bool]
) -> list[Function]:
    """Return the functions to call now; if there are none, the model answers in words.

    Args:
        tools: The tools of the request.
        messages: The chat.
        binding: Whether ``tool_choice: "required"`` is enforced; if not, it is only advice.
        fills: Returns whether the document answers all required parameters of a function.
    """
    if tools.choice == "none":
        return []
    if tools.choice == "named":
        return [function for function in tools.functions if function.name == tools.named][:1]
    called = _called(messages)
    said = "\n".join(text_of(message.get("content")) for message in messages if message.get("role") != "tool")
    wanted = [f for f in tools.functions if f.name not in called and (_names(said, f.name) or fills(f))]
    if not wanted and binding and tools.choice == "required":
        return list(tools.functions[:1])
    return wanted if tools.parallel else wanted[:1]


def results(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the results of tools since the user's last turn as text, in which an object's values have labels."""
    lines: list[str] = []
    for message in _since_user(messages):
        if message.get("role") != "tool":
            continue
        text = text_of(message.get("content"))
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            value = None
        if isinstance(value, dict):
            lines += (f"{key}: {v if isinstance(v, str) else orjson.dumps(v).decode()}" for key, v in value.items())
        else:
            lines.append(text)
    return "\n".join(lines)


def required(function: Function) -> list[str]:
    """Return the names of a function's required parameters."""
    names = function.parameters.get("required") if isinstance(function.parameters, Mapping) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _function(tool: object) -> Function:
    inner = tool.get("function") if isinstance(tool, Mapping) and tool.get("type") == "function" else None
    name = inner.get("name") if isinstance(inner, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(name, str) or not name:
        raise BadInput("oneOf at '/tools/0' not met: required properties are 'type,function'")
    return Function(name, inner.get("parameters"))


def _since_user(messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    last = max((n for n, message in enumerate(messages) if message.get("role") == "user"), default=-1)
    return messages[last + 1 :]


def _called(messages: Sequence[Mapping[str, Any]]) -> set[str]:
    names: set[str] = set()
    for message in _since_user(messages):
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, Mapping) else None
            if isinstance(function, Mapping) and isinstance(function.get("name"), str):
                names.add(function["name"])
    return names


def _names(text: str, name: str) -> bool:
    return name in text and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None
