"""The models that the emulator offers, and the two endpoints of the catalogue that list them.

All of them need the Workers Paid plan; kimi-k2.5 is served by kimi-k2.6 at its prices [documented: changelog]. Prices,
context and ``async_queue`` are Cloudflare's [documented: model pages, pricing page]; the ids of models and tasks in the
catalogue are random elsewhere and derived from the name here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from kimi_beam.emulator.refusals import Refused

K2_5: Final = "@cf/moonshotai/kimi-k2.5"
K2_6: Final = "@cf/moonshotai/kimi-k2.6"
K2_7: Final = "@cf/moonshotai/kimi-k2.7-code"
K3: Final = "@cf/moonshotai/kimi-k3"
_TASK: Final = "Text Generation"


@dataclass(frozen=True)
class Model:
    """An entry of the catalogue.

    Attributes:
        id: The model's id, as in the path.
        description: One line.
        created: The day on which it was added.
        context: The most tokens of prompt and answer together.
        prices: Dollars per million tokens: input, cached input, output.
        queue: Whether it has the batch queue.
        terms: The URL of its licence.
    """

    id: str
    description: str
    created: str
    context: int
    prices: tuple[float, float, float]
    queue: bool
    terms: str


MODELS: Final[Mapping[str, Model]] = MappingProxyType(
    {
        model.id: model
        for model in (
            Model(
                K2_5,
                "Deprecated; requests are served by its successor.",
                "2026-02-02",
                256_000,
                (0.95, 0.16, 4.00),
                False,
                "https://github.com/MoonshotAI/Kimi-K2.5/blob/master/LICENSE",
            ),
            Model(
                K2_6,
                "An open-source, native multimodal agentic model.",
                "2026-04-20",
                262_144,
                (0.95, 0.16, 4.00),
                True,
                "https://huggingface.co/moonshotai/Kimi-K2.6/blob/main/LICENSE",
            ),
            Model(
                K2_7,
                "A model for code; its thinking cannot be turned off.",
                "2026-06-12",
                262_144,
                (0.95, 0.19, 4.00),
                False,
                "https://huggingface.co/moonshotai",
            ),
        )
    }
)


def offered(model: object, plan: str) -> Model:
    """Return a model that an account may use.

    Args:
        model: The id that was asked for.
        plan: ``free`` or ``paid``.

    Raises:
        Refused: There is no such model, or not for this account.
    """
    if model == K3:
        raise Refused(5018, f"AiError: This account is not allowed to access this model {model}")
    known = MODELS.get(model) if isinstance(model, str) else None
    if known is None:
        raise Refused(5007, f"AiError: No such model {model} or task")
    if plan == "free":
        raise Refused(5035, f"AiError: The model {model} needs the Workers Paid plan")
    return known


def search(query: Mapping[str, str]) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the page of the catalogue that ``GET …/ai/models/search`` asks for, and its ``result_info``.

    Args:
        query: ``search`` (part of name or description), ``task``, ``per_page`` and ``page``, all optional.
    """
    wanted, task = query.get("search", "").lower(), query.get("task", _TASK).lower()
    found = [
        model
        for model in MODELS.values()
        if wanted in f"{model.id} {model.description}".lower() and task == _TASK.lower()
    ]
    size, page = _count(query.get("per_page"), 100), _count(query.get("page"), 1)
    shown = [_entry(model) for model in found[(page - 1) * size : page * size]]
    return shown, {"count": len(shown), "page": page, "per_page": size, "total_count": len(found)}


def schema(model: str | None) -> dict[str, Any]:
    """Return the relevant part of a model's schema, as ``GET …/ai/models/schema?model=`` does.

    Raises:
        Refused: There is no such model.
    """
    known = offered(model, "paid")
    text = {"type": "string"}
    message = {
        "type": "object",
        "properties": {"role": text, "content": {"oneOf": [text, {"type": "array"}, {"type": "null"}]}},
        "required": ["role"],
    }
    chat = {
        "type": "object",
        "properties": {
            "messages": {"type": "array", "items": message, "minItems": 1},
            "max_completion_tokens": {"type": "integer"},
            "temperature": {"type": "number", "minimum": 0, "maximum": 2, "default": 1},
            "response_format": {"type": "object"},
            "tools": {"type": "array"},
            "chat_template_kwargs": {"type": "object"},
            "stream": {"type": "boolean", "default": False},
        },
        "required": ["messages"],
    }
    prompt = {"type": "object", "properties": {"prompt": text}, "required": ["prompt"]}
    batch = {"type": "object", "properties": {"requests": {"type": "array"}}, "required": ["requests"]}
    forms = [{"oneOf": [prompt, chat]}, *([batch] if known.queue else [])]
    completion = {
        "type": "object",
        "properties": {"id": text, "object": text, "created": {"type": "integer"}, "model": text, "choices": {}},
        "required": ["id", "object", "created", "model", "choices"],
    }
    return {"input": {"type": "object", "anyOf": forms}, "output": completion}


def neurons(model: str, prompt: int, cached: int, answer: int) -> float:
    """Return what a request costs in neurons, at $0.011 a thousand [documented: pricing page]."""
    fresh_price, cached_price, answer_price = MODELS[model].prices
    dollars = ((prompt - cached) * fresh_price + cached * cached_price + answer * answer_price) / 1_000_000
    return round(dollars / 0.011 * 1000, 6)


def openai_list(extra: tuple[str, ...], created: int) -> dict[str, Any]:
    """Return the models as ``GET /v1/models`` of an OpenAI-compatible server does."""
    ids = extra or tuple(MODELS)
    data = [{"id": name, "object": "model", "created": created, "owned_by": "kimi-beam emulator"} for name in ids]
    return {"object": "list", "data": data}


def _entry(model: Model) -> dict[str, Any]:
    units = ("per M input tokens", "per M cached input tokens", "per M output tokens")
    price = [{"unit": u, "price": p, "currency": "USD"} for u, p in zip(units, model.prices, strict=True)]
    properties: dict[str, Any] = {
        "async_queue": "true" if model.queue else "false",
        "context_window": str(model.context),
        "price": price,
        "function_calling": "true",
        "vision": "true",
        "reasoning": "true",
        "terms": model.terms,
    }
    return {
        "id": str(uuid5(NAMESPACE_URL, model.id)),
        "source": 1,
        "name": model.id,
        "description": model.description,
        "task": {"id": str(uuid5(NAMESPACE_URL, _TASK)), "name": _TASK, "description": "Writes text."},
        "created_at": f"{model.created} 00:00:00.000",
        "tags": [],
        "properties": [{"property_id": name, "value": value} for name, value in properties.items()],
    }


def _count(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() and 0 < int(text) < 10_000 else default
