"""The forms in which a model is asked for JSON: in what order they are tried, and what a request has in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kimi_beam.request import answer_size

StructuredOutput = Literal["schema", "bare", "prompt", "tool"]
"""How a user may have the schema enforced. No page says which of these K2.6 obeys, so every answer is validated here.

* ``schema``: OpenAI's ``{name, schema, strict}``, as Kimi's own input schema has it.
* ``bare``: the schema itself, as the JSON-mode page shows it.
* ``prompt``: ``json_object``; the schema stands in the prompt alone, as Cloudflare's own LangChain package does it.
* ``tool``: a forced function call whose arguments are the answer.
"""

Form = Literal["schema", "bare", "prompt", "tool", "object", "text"]
"""One way of asking for JSON. Beside those that a user may choose there are two that some servers of OpenAI's protocol
need: ``object``, which is ``json_object`` with the schema in it, and ``text``, without any ``response_format``."""

FORM_NAMES: Mapping[Form, str] = {
    "schema": "response_format json_schema",
    "bare": "response_format json_schema with the bare schema",
    "object": "response_format json_object with the schema in it",
    "prompt": "response_format json_object with the schema in the prompt alone",
    "text": "the prompt alone",
    "tool": "a forced function call",
}
"""The names of the forms in messages to the user."""


def forms_after(form: StructuredOutput, *, is_elsewhere: bool, is_object: bool) -> tuple[Form, ...]:
    """The form that the user chose, and those that are tried after it.

    Args:
        form: The form that the user chose.
        is_elsewhere: Whether the server is not Cloudflare's.
        is_object: Whether every answer is an object.
    """
    if is_elsewhere and form != "tool":
        # json_object is left out if the schema is not of an object: it would forbid an array or a scalar.
        further: tuple[Form, ...] = ("object", "prompt", "text") if is_object else ("text",)
        return (form, *further) if form != "prompt" else (form, "text") if is_object else (form,)
    return (form, form, "prompt") if form in ("schema", "bare") else (form,)


def answer_fields(
    form: Form, response_format: Mapping[str, Any], functions: Sequence[Mapping[str, Any]], *, is_object: bool
) -> dict[str, Any]:
    """The fields of a request that enforce the schema in a form, and the functions that the model may call.

    Args:
        form: How the schema is enforced.
        response_format: The schema in OpenAI's form.
        functions: The functions that the model may call before it answers.
        is_object: Whether every answer is an object.
    """
    schema, name = response_format["json_schema"]["schema"], response_format["json_schema"]["name"]
    tools = list(functions)
    fields: dict[str, Any] = {}
    if form == "schema":
        fields["response_format"] = response_format
    elif form == "bare":
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif form == "object":
        fields["response_format"] = {"type": "json_object", "schema": schema}
    elif form == "prompt" and is_object:  # json_object would forbid an array or a scalar
        fields["response_format"] = {"type": "json_object"}
    elif form == "tool":
        description = "Takes what was extracted from the document."
        function = {"name": name, "description": description, "parameters": schema, "strict": True}
        tools.append({"type": "function", "function": function})
        # By name, because a thinking model may ignore "required". If there are other functions, it has to be free to
        # call those first.
        fields["tool_choice"] = "auto" if functions else {"type": "function", "function": {"name": name}}
    return {**({"tools": tools} if tools else {}), **fields}


def is_object(schema: Any) -> bool:
    """Whether every instance is an object, as far as the top of the schema shows."""
    return _is_object(schema, schema, 8)


def _is_object(schema: Any, root: Any, depth: int) -> bool:
    if not isinstance(schema, Mapping) or depth == 0:
        return False
    if schema.get("type") == "object" or "properties" in schema:
        return True
    all_of = schema.get("allOf")
    followed = [*(all_of if isinstance(all_of, list) else ()), answer_size.resolve(schema.get("$ref"), root)]
    return any(_is_object(part, root, depth - 1) for part in followed)


def is_typed(schema: Any) -> bool:
    """Whether a schema gives each value a type, so that the model need not guess any."""
    if not isinstance(schema, Mapping):
        return False
    properties, items = schema.get("properties"), schema.get("items")
    return (
        not {"type", "enum", "const"}.isdisjoint(schema)
        and all(map(is_typed, properties.values() if isinstance(properties, Mapping) else ()))
        and (items is None or is_typed(items))
    )
