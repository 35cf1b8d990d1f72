"""`kimi-beam models`: lists the known models, as a table or as JSON lines."""

from __future__ import annotations

import argparse
import json
from typing import Any

from kimi_beam.commands.console import JSON_VERSION
from kimi_beam.service.models import MODELS, Model

_COLUMNS = ("model", "context", "$/M prompt", "cached", "completion", "queue", "vision", "tools", "thinking off")


def run(args: argparse.Namespace) -> int:
    """Runs the command.

    Returns:
        The exit code.
    """
    if args.json:
        for model in MODELS.values():
            print(json.dumps(_facts(model)))
        return 0
    lines = [list(_COLUMNS), *(_cells(model) for model in MODELS.values())]
    widths = [max(len(line[i]) for line in lines) for i in range(len(_COLUMNS))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print()
    for model in MODELS.values():
        print(f"{model.id}: {model.note}")
    return 0


def _facts(model: Model) -> dict[str, Any]:
    price = model.price
    return {
        "version": JSON_VERSION,
        "id": model.id,
        "context": model.context,
        "usd_per_million": price and {"prompt": price.prompt, "cached": price.cached, "completion": price.completion},
        "queue": model.has_queue,
        "vision": model.vision,
        "tools": model.tools,
        "thinking_off": dict(model.thinking_off) or None,
        "note": model.note,
    }


def _cells(model: Model) -> list[str]:
    price = model.price
    dollars = ["?"] * 3 if price is None else [f"{usd:.2f}" for usd in (price.prompt, price.cached, price.completion)]
    can = (model.has_queue, model.vision, model.tools, bool(model.thinking_off))
    return [model.id, f"{model.context:,}", *dollars, *("yes" if able else "no" for able in can)]
