"""The models of Workers AI that this client knows: context, queue and abilities. Others can be used by their name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from kimi_beam.service.prices import PRICES, Price

Api = Literal["batch", "run", "chat"]
"""Which API the model is asked by: the batch queue, the synchronous run, or OpenAI's chat completions."""


DEFAULT_MODEL = "@cf/moonshotai/kimi-k2.6"
"""The only hosted Kimi with a batch queue: K2.5 lost its own on 2026-04-24 (Workers AI model catalogue)."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model of Workers AI.

    Attributes:
        id: The name as it stands in the URL.
        context: The most tokens of prompt and answer together.
        has_queue: Whether it has a batch queue (``async_queue`` in its catalogue entry).
        vision: Whether it reads images.
        tools: Whether it calls functions.
        thinking_off: The `chat_template_kwargs` that turn its thinking off; empty if it cannot be turned off.
        note: What a user of the model should know; may be empty.
        is_deprecated: Whether a run that uses it prints a warning.
    """

    id: str
    context: int
    has_queue: bool
    vision: bool
    tools: bool
    thinking_off: Mapping[str, Any]
    note: str = ""
    is_deprecated: bool = False

    @property
    def price(self) -> Price | None:
        """What it costs in US dollars; None if that is not known."""
        return PRICES.get(self.id)


_LISTED = (
    Model(
        DEFAULT_MODEL,
        context=262_144,
        has_queue=True,
        vision=True,
        tools=True,
        thinking_off={"thinking": False},  # changelog 2026-04-20
        note="needs the Workers Paid plan",
    ),
    Model(
        "@cf/moonshotai/kimi-k2.5",
        context=256_000,
        has_queue=False,
        vision=True,
        tools=True,
        # Its own switch (model schema), and the switch of K2.6, which answers in its place.
        thinking_off={"thinking": False, "enable_thinking": False},
        note="deprecated: served by kimi-k2.6 at its prices since 2026-05-30; its batch queue is gone",
        is_deprecated=True,
    ),
    Model(
        "@cf/moonshotai/kimi-k2.7-code",
        context=262_144,
        has_queue=False,
        vision=True,
        tools=True,
        thinking_off={},
        note="needs the Workers Paid plan; always thinks",
    ),
)

MODELS: Mapping[str, Model] = MappingProxyType({model.id: model for model in _LISTED})
"""The models by id. Source: Cloudflare's model catalogue, pricing page and changelog, read 2026-10."""

_ANY_SWITCH = {"thinking": False, "enable_thinking": False, "clear_thinking": True}
"""Switches for a model that is not listed: each family of models reads its own key and ignores the others."""


def thinking_off(model: str) -> Mapping[str, Any]:
    """The `chat_template_kwargs` that turn a model's thinking off; empty if it cannot be turned off."""
    listed = MODELS.get(model)
    return _ANY_SWITCH if listed is None else listed.thinking_off


def is_stand_in(model_answered: str) -> bool:
    """Whether the name of a model that answered is the emulator's: it ends in ``(emulator)`` or ``(emulator: …)``."""
    return model_answered.endswith(")") and " (emulator" in model_answered
