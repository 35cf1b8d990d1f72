"""Which elements a transform takes: another type is refused in one sentence, while the pipeline is built.

Beam compares the declared types itself, but its message names them by their Python paths and over several lines.
Where Beam knows a type only as ``Any``, the step that reads the elements looks at each of them (`wrong_element`).
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
from kimi_beam.types import DeadLetter, Document, Extraction

_REMEDIES: dict[Any, str] = {
    Document: "make a document of each element first, as in beam.Map(lambda text: kimi_beam.Document(name, text))",
    DeadLetter: "give it the dead_letters of Extract or the left of ReadDeadLetters",
}
_OTHER_REMEDY = "give it the extractions of Extract"
_INNER_STEP = re.compile(r"/(ParDo|Map|FlatMap)\([^/]*\)$")
"""What Beam adds to the name of a step that it wraps."""


class ElementTypeError(ConfigError, TypeCheckError):
    """A transform was applied to elements of a type that it does not take."""


class TypedTransform(beam.PTransform):
    """A transform that declares its input types and refuses others in one sentence."""

    def type_check_inputs(self, pvalueish: Any) -> None:
        """Compares the inputs' types with the declared ones.

        Raises:
            ElementTypeError: They do not fit.
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
    """Compares the type of a PCollection that is given as an argument, where Beam does not look.

    Raises:
        ElementTypeError: It does not fit.
    """
    if collection is None or not collection.pipeline.options.view_as(TypeOptions).pipeline_type_check:
        return
    if not is_consistent_with(collection.element_type, hint):
        raise wrong_type(label, collection, hint)


def wrong_type(label: str, collection: beam.PCollection, hint: Any) -> ElementTypeError:
    """The refusal of a PCollection of another type."""
    if collection.element_type is beam.PCollection:  # Beam takes all outputs of a step for a list of values
        return _all_outputs(label, hint)
    given = f"{_producer(collection)} gives {_name(collection.element_type)}"
    return ElementTypeError(f"{label} takes {_name(hint)}, but {given}: {_remedy(hint)}")


def _all_outputs(label: str, hint: Any) -> ElementTypeError:
    outputs = "result.extractions or result.dead_letters"
    return ElementTypeError(f"{label} takes {_name(hint)}, but was given all outputs of a step: name {outputs}")


def wrong_element(label: str, element: object, hint: Any) -> ElementTypeError:
    """The refusal of an element of another type, in the running pipeline. Its content is not told."""
    given = f"{label} takes {_name(hint)}, but was given a value of type {_name(type(element))}"
    return ElementTypeError(f"{given}: {_remedy(hint)}")


def _remedy(hint: Any) -> str:
    return _REMEDIES.get(hint, _OTHER_REMEDY)


def _name(hint: Any) -> str:
    parts = getattr(hint, "union_types", None)
    if parts:
        return " or ".join(sorted(_name(part) for part in parts))
    if hint in (Document, Extraction, DeadLetter):
        return f"kimi_beam.{hint.__name__}"
    if hint is pa.RecordBatch:
        return "pyarrow.RecordBatch"
    return hint.__name__ if isinstance(hint, type) else re.sub(r"<class '([^']*)'>", r"\1", str(hint))


def _producer(collection: Any) -> str:
    producer = getattr(collection, "producer", None)
    return "its input" if producer is None else _INNER_STEP.sub("", str(producer.full_label))
