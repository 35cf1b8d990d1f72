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
    from kimi_beam.beam_extensions.element_types import ElementTypeError
    from kimi_beam.errors import (
        AccountError,
        ConfigError,
        ConservationError,
        InputError,
        KimiBeamError,
        OutputError,
        SchemaError,
        StateError,
        UnmetSchemaError,
        UserError,
    )
    from kimi_beam.input.read_dead_letters import ReadDeadLetters
    from kimi_beam.input.read_documents import ReadDocuments
    from kimi_beam.journal.records import Journaling
    from kimi_beam.output.calibrate import calibrate
    from kimi_beam.output.corrected_gold import corrected_gold
    from kimi_beam.output.dataset import WriteDataset
    from kimi_beam.output.dead_letters import WriteDeadLetters
    from kimi_beam.output.evaluate import evaluate
    from kimi_beam.output.parquet import WriteParquet
    from kimi_beam.output.partitions import Rolling
    from kimi_beam.output.review_queue import ReviewLine, ReviewQueue, review_queue
    from kimi_beam.queue.event_inbox import Events
    from kimi_beam.report.outcomes import StopAfter
    from kimi_beam.request.guidance import Example
    from kimi_beam.request.packing import Batching
    from kimi_beam.schema import OutputSchema
    from kimi_beam.scoring.document_scores import AnswerAndGold
    from kimi_beam.scoring.evaluation import Evaluation
    from kimi_beam.service.gateway import Gateway
    from kimi_beam.service.polling import Polling
    from kimi_beam.service.prices import Price
    from kimi_beam.service.workers_ai import WorkersAI
    from kimi_beam.stream.read_files import ReadContinuously
    from kimi_beam.stream.write_stream import WriteStream
    from kimi_beam.transforms import Extract
    from kimi_beam.transforms.combine_scores import CombineScores
    from kimi_beam.types.answer import Usage
    from kimi_beam.types.dead_letter import DeadLetter
    from kimi_beam.types.document import Document, Layout
    from kimi_beam.types.extraction import Extraction
    from kimi_beam.types.failure import Failure
    from kimi_beam.types.grounding import Grounding

_HOME = {
    "AccountError": "kimi_beam.errors",
    "AnswerAndGold": "kimi_beam.scoring.document_scores",
    "Batching": "kimi_beam.request.packing",
    "CombineScores": "kimi_beam.transforms.combine_scores",
    "ConfigError": "kimi_beam.errors",
    "ConservationError": "kimi_beam.errors",
    "DeadLetter": "kimi_beam.types.dead_letter",
    "Document": "kimi_beam.types.document",
    "ElementTypeError": "kimi_beam.beam_extensions.element_types",
    "Evaluation": "kimi_beam.scoring.evaluation",
    "Events": "kimi_beam.queue.event_inbox",
    "Example": "kimi_beam.request.guidance",
    "Extract": "kimi_beam.transforms",
    "Extraction": "kimi_beam.types.extraction",
    "Failure": "kimi_beam.types.failure",
    "Gateway": "kimi_beam.service.gateway",
    "Grounding": "kimi_beam.types.grounding",
    "InputError": "kimi_beam.errors",
    "Journaling": "kimi_beam.journal.records",
    "KimiBeamError": "kimi_beam.errors",
    "Layout": "kimi_beam.types.document",
    "OutputError": "kimi_beam.errors",
    "OutputSchema": "kimi_beam.schema",
    "Polling": "kimi_beam.service.polling",
    "Price": "kimi_beam.service.prices",
    "ReadContinuously": "kimi_beam.stream.read_files",
    "ReadDeadLetters": "kimi_beam.input.read_dead_letters",
    "ReadDocuments": "kimi_beam.input.read_documents",
    "ReviewLine": "kimi_beam.output.review_queue",
    "ReviewQueue": "kimi_beam.output.review_queue",
    "Rolling": "kimi_beam.output.partitions",
    "SchemaError": "kimi_beam.errors",
    "StateError": "kimi_beam.errors",
    "StopAfter": "kimi_beam.report.outcomes",
    "ToMarkdown": "kimi_beam.transforms.to_markdown",
    "UnmetSchemaError": "kimi_beam.errors",
    "Usage": "kimi_beam.types.answer",
    "UserError": "kimi_beam.errors",
    "WorkersAI": "kimi_beam.service.workers_ai",
    "WriteDataset": "kimi_beam.output.dataset",
    "WriteDeadLetters": "kimi_beam.output.dead_letters",
    "WriteParquet": "kimi_beam.output.parquet",
    "WriteStream": "kimi_beam.stream.write_stream",
    "calibrate": "kimi_beam.output.calibrate",
    "corrected_gold": "kimi_beam.output.corrected_gold",
    "evaluate": "kimi_beam.output.evaluate",
    "review_queue": "kimi_beam.output.review_queue",
}

__all__ = [
    "AccountError",
    "AnswerAndGold",
    "Batching",
    "CombineScores",
    "ConfigError",
    "ConservationError",
    "DeadLetter",
    "Document",
    "ElementTypeError",
    "Evaluation",
    "Events",
    "Example",
    "Extract",
    "Extraction",
    "Failure",
    "Gateway",
    "Grounding",
    "InputError",
    "Journaling",
    "KimiBeamError",
    "Layout",
    "OutputError",
    "OutputSchema",
    "Polling",
    "Price",
    "ReadContinuously",
    "ReadDeadLetters",
    "ReadDocuments",
    "ReviewLine",
    "ReviewQueue",
    "Rolling",
    "SchemaError",
    "StateError",
    "StopAfter",
    "ToMarkdown",
    "UnmetSchemaError",
    "Usage",
    "UserError",
    "WorkersAI",
    "WriteDataset",
    "WriteDeadLetters",
    "WriteParquet",
    "WriteStream",
    "calibrate",
    "corrected_gold",
    "evaluate",
    "review_queue",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
