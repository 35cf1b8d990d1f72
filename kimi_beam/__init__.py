"""Structured extraction at scale: Beam pipelines that batch documents to Kimi on Cloudflare Workers AI.

    import apache_beam as beam
    import kimi_beam as kb

    with beam.Pipeline() as p:
        results = p | kb.ReadDocuments("in/*.txt") | kb.Extract("schemas/receipt.json", service=kb.WorkersAI.from_env())
        results.extractions | kb.WriteParquet("out/receipts", "schemas/receipt.json")
        results.dead_letters | kb.WriteDeadLetters("out/dead")

The names below are imported when first used: `import kimi_beam` alone imports neither Beam nor Arrow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kimi_beam.batching import Batching
    from kimi_beam.events import Events
    from kimi_beam.gateway import Gateway
    from kimi_beam.io import ReadDeadLetters, ReadDocuments, WriteDataset, WriteDeadLetters, WriteParquet
    from kimi_beam.polling import Polling
    from kimi_beam.pricing import Price
    from kimi_beam.schema import OutputSchema
    from kimi_beam.service import WorkersAI
    from kimi_beam.transforms import Extract
    from kimi_beam.types import DeadLetter, Document, Extraction, Failure, Usage

_HOME = {
    "Batching": "kimi_beam.batching",
    "DeadLetter": "kimi_beam.types",
    "Document": "kimi_beam.types",
    "Events": "kimi_beam.events",
    "Extract": "kimi_beam.transforms",
    "Extraction": "kimi_beam.types",
    "Failure": "kimi_beam.types",
    "OutputSchema": "kimi_beam.schema",
    "Polling": "kimi_beam.polling",
    "Price": "kimi_beam.pricing",
    "ReadDeadLetters": "kimi_beam.io",
    "ReadDocuments": "kimi_beam.io",
    "Usage": "kimi_beam.types",
    "Gateway": "kimi_beam.gateway",
    "WorkersAI": "kimi_beam.service",
    "WriteDataset": "kimi_beam.io",
    "WriteDeadLetters": "kimi_beam.io",
    "WriteParquet": "kimi_beam.io",
}

__all__ = [
    "Batching",
    "DeadLetter",
    "Document",
    "Events",
    "Extract",
    "Extraction",
    "Failure",
    "Gateway",
    "OutputSchema",
    "Polling",
    "Price",
    "ReadDeadLetters",
    "ReadDocuments",
    "Usage",
    "WorkersAI",
    "WriteDataset",
    "WriteDeadLetters",
    "WriteParquet",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
