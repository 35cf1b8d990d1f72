"""Spoils the text of an answer, as the faults of one item demand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from kimi_beam.emulator import tokens
from kimi_beam.emulator.replies import Completion
from kimi_beam.emulator.thinking import NOTE


def spoil(completion: Completion, fault: str | None, schema: object) -> Completion:
    """Return the completion as the fault changes it. Faults that do not concern the text leave it unchanged.

    Args:
        completion: A good answer.
        fault: The name of the item's fault, None for none.
        schema: The JSON Schema of the answer, used by the fault ``invalid``; any other value means no schema.
    """
    content = completion.content or ""
    if fault == "fenced":
        return _with_content(completion, f"```json\n{content}\n```")
    if fault == "prose":
        return _with_content(completion, f"Here is the extracted data:\n\n{content}\n\nLet me know if you need more.")
    if fault == "wrapped":
        return _with_content(completion, f'{{"result": {content}}}')
    if fault == "python":
        return _with_content(completion, _in_python(content))
    if fault == "number_texts":
        return _with_content(completion, _with_number_texts(content))
    if fault == "parsed":
        return replace(completion, is_parsed=True)
    if fault == "in_reasoning":
        return replace(completion, content=None, reasoning=content)
    if fault == "broken_off":
        return _with_content(completion, content[: max(1, len(content) // 2)])
    if fault == "truncated":
        return replace(_with_content(completion, content[: max(1, len(content) // 2)]), finish_reason="length")
    if fault == "empty":
        return replace(completion, content=None, finish_reason="length", reasoning=completion.reasoning or NOTE)
    if fault in ("invalid", "stubborn"):
        return _with_content(completion, violate(content, schema))
    return completion


def shorten(completion: Completion, limit: object) -> Completion:
    """Cut an answer at ``max_completion_tokens``; reasoning counts against it [observed: thinking eats the limit]."""
    if isinstance(limit, bool) or not isinstance(limit, int) or completion.completion_tokens <= limit:
        return completion
    thought = completion.reasoning or ""
    left = tokens.cut(completion.content or "", limit - tokens.estimate(thought))
    reasoning = tokens.cut(thought, limit) or None
    return replace(
        completion, content=left or None, finish_reason="length", completion_tokens=max(limit, 0), reasoning=reasoning
    )


def violate(content: str, schema: object) -> str:
    """Return JSON that the schema forbids: a required key dropped, else a value of a wrong type, else another root."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return "[]"
    if isinstance(value, dict) and isinstance(schema, Mapping):
        properties = schema.get("properties")
        required = schema.get("required")
        for key in required if isinstance(required, list) else ():
            if key in value:
                del value[key]
                return orjson.dumps(value).decode()
        for key, rule in properties.items() if isinstance(properties, Mapping) else ():
            if key in value and (wrong := _wrong_value(rule)) is not None:
                return orjson.dumps({**value, key: wrong}).decode()
    return "{}" if isinstance(value, list) else "[]"


_WORDS: Final = {"true": "True", "false": "False", "null": "None"}


def _in_python(content: str) -> str:
    """Return JSON with the words of Python, and with a comma behind the last member or item."""
    words = re.sub(r'"[^"\\]*(?:\\.[^"\\]*)*"|\b(?:true|false|null)\b', lambda m: _WORDS.get(m[0], m[0]), content)
    is_filled = len(words) > 2 and words[-1] in "]}" and words[-2] not in "[{"
    return f"{words[:-1]},{words[-1]}" if is_filled else words


def _with_number_texts(content: str) -> str:
    """Return JSON whose numbers are strings."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: changed(item) for key, item in value.items()}
        if isinstance(value, list):
            return [changed(item) for item in value]
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    try:
        return orjson.dumps(changed(orjson.loads(content))).decode()
    except orjson.JSONDecodeError:
        return content


def _wrong_value(rule: object) -> Any:
    """Return a value of a type that the rule excludes; None if its ``type`` excludes none."""
    kinds = rule.get("type") if isinstance(rule, Mapping) else None
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if None in kinds or "object" in kinds:
        return None
    return {"not": "what was asked for"}


def _with_content(completion: Completion, content: str) -> Completion:
    count = tokens.estimate(content) + tokens.estimate(completion.reasoning or "")
    return replace(completion, content=content, completion_tokens=count)
