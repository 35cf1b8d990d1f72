"""Python functions that the model may call while it reads a document.

pydantic makes a function's declaration from its signature and docstring. The arguments come from the model and are
untrusted: they are validated first, and an exception of the function is sent back to the model as a message.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_type_hints

import orjson

from kimi_beam.errors import ConfigError
from kimi_beam.wire.completions import ToolCall, ToolCalls

if TYPE_CHECKING:
    import pydantic


@dataclass(frozen=True)
class Tool:
    """A function that the model may call. It has to be safe to repeat, as a bundle may be run again.

    Attributes:
        function: Takes keyword arguments with type hints and returns a value that can be written as JSON. It may be a
            coroutine function.

    Raises:
        ConfigError: The function cannot be declared.
    """

    function: Callable[..., Any]

    def __post_init__(self) -> None:
        import pydantic  # takes a tenth of a second to import, and only runs with tools need it

        try:
            _ = self.declaration
        except (TypeError, ValueError, NameError, AttributeError, pydantic.errors.PydanticUserError) as e:
            name = getattr(self.function, "__name__", repr(self.function))
            raise ConfigError(f"tools: {name} cannot be declared to the model: {' '.join(str(e).split())[:200]}") from e
        # The worker makes this class again, because one that is made at run time cannot be pickled.
        self.__dict__.pop("_arguments")

    @property
    def name(self) -> str:
        """The name by which the model calls it."""
        return self.function.__name__

    @cached_property
    def declaration(self) -> Mapping[str, Any]:
        """The declaration, as an entry of OpenAI's ``tools``."""
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.name):
            raise ValueError("a function's name is up to 64 letters, digits, _ and -")
        schema = self._arguments.model_json_schema()
        schema.pop("title", None)
        description = " ".join((inspect.getdoc(self.function) or "").split("\n\n")[0].split())
        function = {"name": self.name, "description": description, "parameters": schema}
        return {"type": "function", "function": function}

    @cached_property
    def _arguments(self) -> type[pydantic.BaseModel]:
        import pydantic

        hints = get_type_hints(self.function, include_extras=True)
        fields: dict[str, Any] = {}
        for name, parameter in inspect.signature(self.function).parameters.items():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(f"the parameter {name} cannot be given by name")
            if name.startswith("_"):  # pydantic would keep it out of the declaration
                raise TypeError(f"the parameter {name} begins with an underscore")
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[name] = (hints.get(name, Any), default)
        config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=False)
        model: type[pydantic.BaseModel] = pydantic.create_model(self.name, __config__=config, **fields)
        return model

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the function alone."""
        return Tool, (self.function,)

    async def call(self, arguments: str) -> str:
        """Calls the function.

        Args:
            arguments: The arguments as JSON, as the model wrote them.

        Returns:
            The message to the model: the result as JSON (a string unchanged), or what went wrong.
        """
        import pydantic
        import pydantic_core

        try:
            valid = self._arguments.model_validate_json(arguments or "{}")
        except (pydantic.ValidationError, ValueError, RecursionError) as e:
            return _error(f"the arguments do not fit: {e}")
        values = {name: getattr(valid, name) for name in self._arguments.model_fields}
        try:
            if inspect.iscoroutinefunction(self.function):
                result = await self.function(**values)
            else:
                result, error = await _in_thread(self.function, values)
                if error is not None:
                    raise error
            return result if isinstance(result, str) else pydantic_core.to_json(result, fallback=str).decode()
        except (Exception, SystemExit, KeyboardInterrupt) as e:  # the user's code may raise anything
            return _error(f"{type(e).__name__}: {e}")


async def _in_thread(function: Callable[..., Any], values: Mapping[str, Any]) -> tuple[Any, BaseException | None]:
    """Calls a function in a thread of its own, so that one that never returns blocks neither others nor the exit."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def work() -> None:
        result, error = None, None
        try:
            result = function(**values)
        except BaseException as e:  # returned as a value, because a future cannot raise `StopIteration`
            error = e
        loop.call_soon_threadsafe(finish, (result, error))

    def finish(outcome: tuple[Any, BaseException | None]) -> None:
        if not done.done():
            done.set_result(outcome)

    threading.Thread(target=work, name="kimi_beam-tool", daemon=True).start()
    return await done


def declared(functions: Sequence[Callable[..., Any]]) -> tuple[Tool, ...]:
    """Makes tools of functions.

    Raises:
        ConfigError: A function cannot be declared, or two have the same name.
    """
    tools = tuple(Tool(function) for function in functions)
    names = [tool.name for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"tools: two functions are called {name}")
    return tools


async def answer(called: ToolCalls, tools: Sequence[Tool]) -> list[bytes]:
    """Calls the functions that the model has asked for.

    Returns:
        The messages to add to the request, as JSON: the model's own message with its calls, and the result of each.
    """
    by_name = {tool.name: tool for tool in tools}
    results = await asyncio.gather(*(_result(call, by_name) for call in called.calls))
    return [_assistant_message(called), *results]


async def _result(call: ToolCall, by_name: Mapping[str, Tool]) -> bytes:
    tool = by_name.get(call.name)
    content = await tool.call(call.arguments) if tool else _error(f"there is no function {call.name!r:.100}")
    return _encoded({"role": "tool", "tool_call_id": call.id, "content": content})


def _assistant_message(called: ToolCalls) -> bytes:
    """The model's own message. Its content must not be null (5006), and its key is ``reasoning`` (bug reports)."""
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in called.calls
    ]
    message: dict[str, Any] = {"role": "assistant", "content": called.text, "tool_calls": calls}
    if called.reasoning:
        message["reasoning"] = called.reasoning
    return _encoded(message)


def _error(message: str) -> str:
    return _encoded({"error": " ".join(message.split())[:500]}).decode()


def _encoded(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # half a surrogate pair in a function's result or in the model's text
        import pydantic_core

        return pydantic_core.to_json(_legible(value))


def _legible(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _legible(item) for key, item in value.items()}
    return [_legible(item) for item in value] if isinstance(value, list) else value
