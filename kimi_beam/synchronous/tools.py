"""Python functions that the model may call while it reads a document.

A function is declared by its signature and docstring, through pydantic. What the model wants it called with is
untrusted: it is validated first, and whatever the function raises goes back to the model as words.
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
    """One function that is safe to repeat: a bundle may be run again, and its calls with it.

    Attributes:
        function: Takes keyword arguments with type hints, returns what can be written as JSON. May be a coroutine.

    Raises:
        ConfigError: The function cannot be declared.
    """

    function: Callable[..., Any]

    def __post_init__(self) -> None:
        import pydantic  # a tenth of a second, for who has tools

        try:
            _ = self.declaration
        except (TypeError, ValueError, NameError, AttributeError, pydantic.errors.PydanticUserError) as e:
            name = getattr(self.function, "__name__", repr(self.function))
            raise ConfigError(f"tools: {name} cannot be declared to the model: {' '.join(str(e).split())[:200]}") from e
        # Rebuilt on the worker: a class that was made here cannot be pickled.
        self.__dict__.pop("_arguments")

    @property
    def name(self) -> str:
        """What the model calls it by."""
        return self.function.__name__

    @cached_property
    def declaration(self) -> Mapping[str, Any]:
        """As OpenAI's ``tools`` have it."""
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.name):
            raise ValueError("a function's name is up to 64 letters, digits, _ and -")
        schema = self._arguments.model_json_schema()
        schema.pop("title", None)
        told = " ".join((inspect.getdoc(self.function) or "").split("\n\n")[0].split())
        function = {"name": self.name, "description": told, "parameters": schema}
        return {"type": "function", "function": function}

    @cached_property
    def _arguments(self) -> type[pydantic.BaseModel]:
        import pydantic

        hints = get_type_hints(self.function, include_extras=True)
        fields: dict[str, Any] = {}
        for name, parameter in inspect.signature(self.function).parameters.items():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(f"the parameter {name} cannot be given by name")
            if name.startswith("_"):  # pydantic takes it for an attribute of its own, and the model never hears of it
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
            arguments: JSON text, as the model wrote it.

        Returns:
            What to tell the model: the result as JSON (a string as it is), or what went wrong.
        """
        import pydantic
        import pydantic_core

        try:
            given = self._arguments.model_validate_json(arguments or "{}")
        except (pydantic.ValidationError, ValueError, RecursionError) as e:
            return _wrong(f"the arguments do not fit: {e}")
        values = {name: getattr(given, name) for name in self._arguments.model_fields}
        try:
            if inspect.iscoroutinefunction(self.function):
                result = await self.function(**values)
            else:
                result, error = await _in_thread(self.function, values)
                if error is not None:
                    raise error
            return result if isinstance(result, str) else pydantic_core.to_json(result, fallback=str).decode()
        except (Exception, SystemExit, KeyboardInterrupt) as e:  # the user's own code, called with what a model made up
            return _wrong(f"{type(e).__name__}: {e}")


async def _in_thread(function: Callable[..., Any], values: Mapping[str, Any]) -> tuple[Any, BaseException | None]:
    """Calls a function in a thread of its own: one that never returns holds up neither others nor the process's end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def work() -> None:
        result, error = None, None
        try:
            result = function(**values)
        except BaseException as e:  # as a value: `StopIteration`, as `next` raises it, cannot pass a future
            error = e
        loop.call_soon_threadsafe(tell, (result, error))

    def tell(what: tuple[Any, BaseException | None]) -> None:
        if not done.done():
            done.set_result(what)

    threading.Thread(target=work, name="kimi_beam-tool", daemon=True).start()
    return await done


def declared(functions: Sequence[Callable[..., Any]]) -> tuple[Tool, ...]:
    """The functions as tools.

    Raises:
        ConfigError: One cannot be declared, or two have one name.
    """
    tools = tuple(Tool(function) for function in functions)
    names = [tool.name for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"tools: two functions are called {name}")
    return tools


async def answer(called: ToolCalls, tools: Sequence[Tool]) -> list[bytes]:
    """Calls what the model wants called.

    Returns:
        The messages that follow, as JSON: the assistant's own turn, and the result of each call.
    """
    known = {tool.name: tool for tool in tools}
    results = await asyncio.gather(*(_result(call, known) for call in called.calls))
    return [_turn(called), *results]


async def _result(call: ToolCall, known: Mapping[str, Tool]) -> bytes:
    tool = known.get(call.name)
    said = await tool.call(call.arguments) if tool else _wrong(f"there is no function {call.name!r:.100}")
    return _encoded({"role": "tool", "tool_call_id": call.id, "content": said})


def _turn(called: ToolCalls) -> bytes:
    """The assistant's turn: its content is never null (5006), its reasoning goes into ``reasoning`` (bug reports)."""
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in called.calls
    ]
    turn: dict[str, Any] = {"role": "assistant", "content": called.text, "tool_calls": calls}
    if called.reasoning:
        turn["reasoning"] = called.reasoning
    return _encoded(turn)


def _wrong(message: str) -> str:
    return _encoded({"error": " ".join(message.split())[:500]}).decode()


def _encoded(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # half a surrogate pair, in what a function returned or a model wrote
        import pydantic_core

        return pydantic_core.to_json(_legible(value))


def _legible(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _legible(item) for key, item in value.items()}
    return [_legible(item) for item in value] if isinstance(value, list) else value
