"""Thinking: reads the switches in a request, and writes the placeholder for the model's reasoning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from kimi_beam.emulator import tokens
from kimi_beam.emulator.catalogue import K2_5, K2_6, K2_7
from kimi_beam.emulator.refusals import BadInput

NOTE: Final = "rule-based stand-in, not a model"
_SWITCHES: Final = ("thinking", "enable_thinking")
_DOCUMENTED: Final[Mapping[str, str]] = {K2_5: "enable_thinking", K2_6: "thinking"}


def check(request: Mapping[str, Any]) -> None:
    """Check the fields about thinking [documented: input schema].

    Raises:
        BadInput: The effort does not exist, or the switches are no object.
    """
    if request.get("reasoning_effort") not in ("low", "medium", "high", None):
        raise BadInput("'/reasoning_effort' must be one of 'low', 'medium', 'high', null")
    if not isinstance(request.get("chat_template_kwargs") or {}, Mapping):
        raise BadInput("Type mismatch of '/chat_template_kwargs', 'object' expected")


def is_switched(request: Mapping[str, Any]) -> bool:
    """Whether a request has any switch about thinking."""
    said = request.get("chat_template_kwargs") or {}
    return "reasoning_effort" in request or any(switch in said for switch in _SWITCHES)


def is_on(request: Mapping[str, Any], model: str, rule: Literal["any", "documented", "ignored"]) -> bool:
    """Whether the model thinks about a request, which it does unless a switch turns it off [documented].

    Args:
        request: The request.
        model: The model that answers. K2.7 always thinks [documented: its input schema].
        rule: The switches that work; see `Behaviour.thinking_switch`.
    """
    if model == K2_7 or rule == "ignored":
        return True
    said = request.get("chat_template_kwargs") or {}
    if rule == "documented":
        return said.get(_DOCUMENTED.get(model, "thinking")) is not False
    if "reasoning_effort" in request and request["reasoning_effort"] is None:
        return False
    return not any(said.get(switch) is False for switch in _SWITCHES)


def text(count: int) -> str:
    """Return reasoning of this many tokens: the note that no model wrote it, repeated."""
    size = count * tokens.BYTES_PER_TOKEN
    return (NOTE + "; " + (NOTE + "; ") * (size // len(NOTE)))[:size]
