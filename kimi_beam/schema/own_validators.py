"""The class of a schema: it is asked wherever its JSON Schema may not say all of it. It is imported where one is given.

Pydantic's JSON mode reads the answer, so that it is as strict as the class is for JSON, and what the class gives back
is what the row holds.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from kimi_beam import jsontext
from kimi_beam.errors import SchemaError
from kimi_beam.jsontext import NoJsonError
from kimi_beam.schema.plain_classes import field_by_path, is_plain
from kimi_beam.schema.source import import_class, line, reference_to
from kimi_beam.schema.violations import Violation, violation

if TYPE_CHECKING:
    from kimi_beam.schema.class_values import ClassValues

_MOST = 100


class RefusedError(ValueError):
    """A class refuses an instance of its JSON Schema."""


@dataclass(frozen=True)
class OwnValidators:
    """The validators of a class, which travels by its name.

    Attributes:
        reference: ``module:Class``, to import it on a worker.
        only_with: It need be asked only where this stands in the answer's JSON; empty: always.
        given_as: Tells the class from others of its name in the process that it was given in, as names need not be
            unique: a notebook defines a class again, a function makes several. Empty: it is known by its name alone.
    """

    reference: str
    only_with: bytes = b""
    given_as: str = ""

    @classmethod
    def of(cls, model: type, *, formats: bool) -> OwnValidators | None:
        """The class as it is asked; None where its JSON Schema says everything and it changes nothing.

        Raises:
            SchemaError: It cannot read what is valid under its JSON Schema.
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
        """Makes sure that the class can be asked in this process.

        Raises:
            SchemaError: It cannot be imported here.
        """
        _values(self.reference, self.given_as)

    def violations(self, instance: Any) -> list[Violation]:
        """What the class says against an instance of its JSON Schema.

        Raises:
            SchemaError: The class cannot be imported here.
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
        except Exception as e:  # a user's validator may raise anything, and only this document must pay for it
            return [violation((), "validator", f"the validators of {self.reference} raised {type(e).__name__}: {e}")]
        return []

    def given_back(self, instance: Any) -> Any:
        """What the class makes of an instance of its JSON Schema, as an instance of the same.

        Raises:
            NoJsonError: It makes something of it that JSON has no form for.
            RefusedError: The class refuses the instance; `violations` says why.
            SchemaError: The class cannot be imported here.
        """
        text = jsontext.dumps(instance)
        values = self._values_for(text)
        if values is None:
            return instance
        try:
            return values.json_of(text, instance)
        except NoJsonError:
            raise
        except Exception:  # a user's validator may raise anything, and only this document must pay for it
            raise RefusedError from None

    def _values_for(self, text: bytes) -> ClassValues | None:
        if self.only_with not in text:
            return None
        try:
            return _values(self.reference, self.given_as)
        except SchemaError:
            if self.only_with:  # a class that is as good as plain need not be importable
                return None
            raise


_CLASSES: dict[str, type] = {}
"""Classes that were given in this process, by `OwnValidators.given_as`; they need not be importable."""


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
