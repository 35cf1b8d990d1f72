"""What stands before the document in every request, made without Beam: in each of several processes, in a moment."""

from __future__ import annotations

import os
from typing import Any, get_args

from kimi_beam.request.answer_forms import StructuredOutput
from kimi_beam.request.prompt import Prompt
from kimi_beam.schema import OutputSchema
from kimi_beam.synchronous.tools import declared
from kimi_beam.types.document import Document

APIS = ("batch", "run", "chat")
FORMS: tuple[StructuredOutput, ...] = get_args(StructuredOutput)
# Keys in an order of their own, nested, with what hashing could shuffle.
SCHEMA = {
    "type": "object",
    "title": "Präfix",
    "properties": {name: {"type": ["string", "null"], "enum": ["z", "a", "é", None]} for name in "zqbaxm"},
    "required": list("zqbaxm"),
    "additionalProperties": False,
}


def before_the_document(body: bytes) -> bytes:
    """What stands before the last message's content."""
    return body[: body.rindex(b'"role":"user","content":')]


def bodies(form: StructuredOutput, api: Any, count: int) -> list[bytes]:
    tools = tuple(tool.declaration for tool in declared([look_up, convert])) if api != "batch" else ()
    prompt = Prompt(OutputSchema(SCHEMA), structured_output=form, api=api, tools=tools)
    return [
        prompt.request(Document(f"id {n}", f"text {n} {os.getpid()}", metadata={"n": n}), f"ref-{n}")
        for n in range(count)
    ]


def look_up(name: str, years: set[int] | None = None) -> str:
    """Looks a name up."""
    return f"{name} {years}"


def convert(amount: float, currency: str = "EUR") -> float:
    """Converts an amount."""
    return amount * len(currency)


def prefixes(count: int) -> list[str]:
    """The one prefix of each API and form, in hexadecimal."""
    found = []
    for api in APIS:
        for form in FORMS:
            (prefix,) = {before_the_document(body) for body in bodies(form, api, count)}
            found.append(prefix.hex())
    return found
