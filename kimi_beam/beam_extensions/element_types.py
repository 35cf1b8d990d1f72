"""Refuses elements of a wrong type in one sentence, while the pipeline is built.

Beam checks declared types itself, but its message has several lines and the Python paths of the types. If Beam knows a
type only as ``Any``, the step that reads the elements checks each of them (`wrong_element`).
"""

from __future__ import annotations

import re
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import TypeOptions
from apache_beam.typehints.decorators import TypeCheckError
from apache_beam.typehints.typehints import is_consistent_with

from kimi_beam.errors import ConfigError
from kimi_beam.scoring.document_scores import AnswerAndGold
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document
from kimi_beam.types.extraction import Extraction

_REMEDIES: dict[Any, str] = {
    Document: "make a document of each element first, as in beam.Map(lambda text: kimi_beam.Document(name, text))",
    AnswerAndGold: "pair each answer with its gold first: kimi_beam.AnswerAndGold(id, gold, answer)",
    DeadLetter: "give it the dead_letters of Extract or the left of ReadDeadLetters",
}
_OTHER_REMEDY = "give it the extractions of Extract"
_INNER_STEP = re.compile(r"/(ParDo|Map|FlatMap)\([^/]*\)$")
"""The suffix that Beam adds to the label of a step that it wraps."""


class ElementTypeError(ConfigError, TypeCheckError):
    """A transform was applied to elements of a wrong type."""


class TypedTransform(beam.PTransform):
    """A transform that declares its input types, and refuses others in one sentence."""

    def type_check_inputs(self, pvalueish: Any) -> None:
        """Compares the types of the inputs with the declared ones.

        Raises:
            ElementTypeError: A type does not fit.
        """
        try:
            super().type_check_inputs(pvalueish)
        except TypeCheckError as e:
            raise self._refusal(pvalueish) or e from None

    def _refusal(self, pvalueish: Any) -> ElementTypeError | None:
        hints = self.get_type_hints().input_types[0]
        given = pvalueish if isinstance(pvalueish, (tuple, list)) else (pvalueish,)
        if len(given) > len(hints):
            return _all_outputs(self.label, hints[0])
        for collection, hint in zip(given, hints, strict=False):
            if not is_consistent_with(collection.element_type, hint):
                return wrong_type(self.label, collection, hint)
        return None


def check_type(label: str, collection: beam.PCollection | None, hint: Any) -> None:
    """Checks the type of a PCollection that is an argument of a transform, which Beam does not check.

    Raises:
        ElementTypeError: The type does not fit.
    """
    if collection is None or not collection.pipeline.options.view_as(TypeOptions).pipeline_type_check:
        return
    if not is_consistent_with(collection.element_type, hint):
        raise wrong_type(label, collection, hint)


def wrong_type(label: str, collection: beam.PCollection, hint: Any) -> ElementTypeError:
    """The error about a PCollection of a wrong type."""
    if collection.element_type is beam.PCollection:  # the user passed all outputs of a step at once
        return _all_outputs(label, hint)
    given = f"{_producer(collection)} gives {_name(collection.element_type)}"
    return ElementTypeError(f"{label} takes {_name(hint)}, but {given}: {_remedy(hint)}")


def _all_outputs(label: str, hint: Any) -> ElementTypeError:
    outputs = "result.extractions or result.dead_letters"
    return ElementTypeError(f"{label} takes {_name(hint)}, but was given all outputs of a step: name {outputs}")


def wrong_element(label: str, element: object, hint: Any) -> ElementTypeError:
    """The error about an element of a wrong type in the running pipeline. It does not reveal the element's content."""
    given = f"{label} takes {_name(hint)}, but was given a value of type {_name(type(element))}"
    return ElementTypeError(f"{given}: {_remedy(hint)}")


def _remedy(hint: Any) -> str:
    return _REMEDIES.get(hint, _OTHER_REMEDY)


def _name(hint: Any) -> str:
    parts = getattr(hint, "union_types", None)
    if parts:
        return " or ".join(sorted(_name(part) for part in parts))
    if hint in (AnswerAndGold, Document, Extraction, DeadLetter):
        return f"kimi_beam.{hint.__name__}"
    if hint is pa.RecordBatch:
        return "pyarrow.RecordBatch"
    return hint.__name__ if isinstance(hint, type) else re.sub(r"<class '([^']*)'>", r"\1", str(hint))


def _producer(collection: Any) -> str:
    producer = getattr(collection, "producer", None)
    return "its input" if producer is None else _INNER_STEP.sub("", str(producer.full_label))
