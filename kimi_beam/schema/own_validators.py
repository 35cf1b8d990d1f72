"""Validates answers by the user's class if it checks or changes more than its JSON Schema does.

The class reads the answer in pydantic's JSON mode, and the row holds the value that the class makes of it. Imported
only if the user's schema is a class.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from kimi_beam.errors import SchemaError
from kimi_beam.schema import jsontext
from kimi_beam.schema.jsontext import NoJsonError
from kimi_beam.schema.plain_classes import field_by_path, is_plain
from kimi_beam.schema.source import import_class, line, reference_to
from kimi_beam.schema.violations import Violation, violation

if TYPE_CHECKING:
    from kimi_beam.schema.class_values import ClassValues

_MOST = 100


class RefusedError(ValueError):
    """The schema's class refuses an answer."""


@dataclass(frozen=True)
class OwnValidators:
    """The validators of a class. The class is pickled as its name and imported on the worker.

    Attributes:
        reference: ``module:Class``, by which a worker imports it.
        only_with: The class is asked only about answers whose JSON contains these bytes; empty: about all.
        given_as: A key that is unique in the process that built the pipeline, where two classes may have one name: a
            notebook defines a class again, a function makes several. Empty: the class is found by its name alone.
    """

    reference: str
    only_with: bytes = b""
    given_as: str = ""

    @classmethod
    def of(cls, model: type, *, formats: bool) -> OwnValidators | None:
        """The validators of a class; None if the class checks no more than its JSON Schema and changes nothing.

        Raises:
            SchemaError: The class cannot read what is valid under its JSON Schema.
        """
        from pydantic import TypeAdapter

        core = TypeAdapter(model).core_schema
        plain = is_plain(core, formats=formats)
        if plain:
            return None
        if (found := field_by_path(core)) is not None:
            raise SchemaError(
                f"{model.__name__}: the field {found!r} is read by an AliasPath alone, which JSON Schema cannot say, "
                "so that no answer would be read: give it an alias that is a name, or validate_by_name=True"
            )
        given_as = next((known for known, other in _CLASSES.items() if other is model), None) or uuid.uuid4().hex
        _CLASSES[given_as] = model
        return cls(reference_to(model), b'"0000-' if plain is None else b"", given_as)

    def check(self) -> None:
        """Imports the class.

        Raises:
            SchemaError: The class cannot be imported in this process.
        """
        _values(self.reference, self.given_as)

    def violations(self, instance: Any) -> list[Violation]:
        """The violations that the class reports for an instance of its JSON Schema.

        Raises:
            SchemaError: The class cannot be imported in this process.
        """
        from pydantic import ValidationError

        text = jsontext.dumps(instance)
        try:
            values = self._values_for(text)
            if values is not None:
                values.json_of(text, instance)
        except SchemaError:
            raise
        except NoJsonError:
            return []
        except ValidationError as e:
            return [_violation(error) for error in e.errors(include_url=False, include_context=False)[:_MOST]]
        except (RecursionError, MemoryError) as e:
            return [violation((), "validator", f"cannot be validated: {type(e).__name__}")]
        except Exception as e:  # a user's validator may raise anything, which must fail this document only
            return [violation((), "validator", f"the validators of {self.reference} raised {type(e).__name__}: {e}")]
        return []

    def class_value(self, instance: Any) -> Any:
        """The value that the class makes of an instance of its JSON Schema, as JSON of the same schema.

        Raises:
            NoJsonError: The value cannot be written as JSON.
            RefusedError: The class refuses the instance; `violations` says why.
            SchemaError: The class cannot be imported in this process.
        """
        text = jsontext.dumps(instance)
        values = self._values_for(text)
        if values is None:
            return instance
        try:
            return values.json_of(text, instance)
        except NoJsonError:
            raise
        except Exception:  # a user's validator may raise anything, which must fail this document only
            raise RefusedError from None

    def _values_for(self, text: bytes) -> ClassValues | None:
        if self.only_with not in text:
            return None
        try:
            return _values(self.reference, self.given_as)
        except SchemaError:
            if self.only_with:  # a class that is asked about dates of the year 0 alone need not be importable
                return None
            raise


_CLASSES: dict[str, type] = {}
"""The classes of schemas that were built in this process, by `OwnValidators.given_as`. They need not be importable."""


@cache
def _values(reference: str, given_as: str) -> ClassValues:
    from pydantic import TypeAdapter

    from kimi_beam.schema.class_values import ClassValues

    model = _CLASSES.get(given_as)
    if model is None:
        try:
            model = import_class(reference)
        except SchemaError as e:
            raise SchemaError(
                f"{reference} is asked about each answer, so it must be importable on the workers: {e}"
            ) from None
    return ClassValues(TypeAdapter(model))


def _violation(error: Any) -> Violation:
    message = line(str(error["msg"]), 300)
    return violation(error["loc"], "validator", message)
