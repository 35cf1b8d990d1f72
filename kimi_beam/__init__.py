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

import os
import sys


def _search_the_working_directory_last() -> None:
    """Undoes what ``python -m kimi_beam`` does to the search path, before anything else is imported.

    Python puts the working directory first for ``-m``. It is where the documents lie, and a ``queue.py`` among them
    would be executed with the token in its environment. Where this package itself was found there, as in a checkout
    that is not installed, the directory stays, last. Where another module was run by ``-m``, nothing is changed.
    """
    started_by_m = sys.argv[:1] == ["-m"]  # Python's own stand-in while it looks for the module (documentation of -m)
    if not started_by_m or len(sys.orig_argv) < len(sys.argv):
        return
    module = sys.orig_argv[-len(sys.argv)].removeprefix("-m")
    if module.partition(".")[0] != __name__ or sys.path[:1] not in ([""], [os.getcwd()]):  # noqa: PTH109
        return
    directory = sys.path.pop(0)
    if os.path.dirname(os.path.dirname(os.path.abspath(__file__))) == os.path.abspath(directory):  # noqa: PTH100, PTH120
        sys.path.append(directory)


_search_the_working_directory_last()

from importlib import import_module  # noqa: E402 - found on the search path as it is now
from typing import TYPE_CHECKING, Any  # noqa: E402

if TYPE_CHECKING:
    from kimi_beam.batching import Batching
    from kimi_beam.events import Events
    from kimi_beam.gateway import Gateway
    from kimi_beam.io import (
        ReadContinuously,
        ReadDeadLetters,
        ReadDocuments,
        Rolling,
        WriteDataset,
        WriteDeadLetters,
        WriteParquet,
        WriteStream,
    )
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
    "ReadContinuously": "kimi_beam.io",
    "ReadDeadLetters": "kimi_beam.io",
    "ReadDocuments": "kimi_beam.io",
    "Rolling": "kimi_beam.io",
    "Usage": "kimi_beam.types",
    "Gateway": "kimi_beam.gateway",
    "WorkersAI": "kimi_beam.service",
    "WriteDataset": "kimi_beam.io",
    "WriteDeadLetters": "kimi_beam.io",
    "WriteParquet": "kimi_beam.io",
    "WriteStream": "kimi_beam.io",
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
    "ReadContinuously",
    "ReadDeadLetters",
    "ReadDocuments",
    "Rolling",
    "Usage",
    "WorkersAI",
    "WriteDataset",
    "WriteDeadLetters",
    "WriteParquet",
    "WriteStream",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
