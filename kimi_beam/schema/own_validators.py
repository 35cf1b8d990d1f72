"""A class's own validators: what pydantic checks that no JSON Schema says. It is imported where a class is given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from kimi_beam import jsontext
from kimi_beam.errors import SchemaError
from kimi_beam.schema.source import import_class, line
from kimi_beam.schema.violations import Violation, violation

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_FUNCTIONS = ("function-before", "function-after", "function-wrap", "function-plain")
_OURS = ("pydantic.", "pydantic_core.")
_MOST = 100


@dataclass(frozen=True)
class OwnValidators:
    """The validators of a class, which travels by its name.

    Attributes:
        reference: ``module:Class``, to import it on a worker.
    """

    reference: str

    @classmethod
    def of(cls, model: type) -> OwnValidators | None:
        """The validators of a class; None where it has none, so that its JSON Schema says everything."""
        from pydantic import TypeAdapter

        if not _has_functions(TypeAdapter(model).core_schema):
            return None
        found = cls(f"{model.__module__}:{model.__qualname__}")
        _CLASSES[found.reference] = model
        return found

    def violations(self, instance: Any) -> list[Violation]:
        """What the class says against an instance of its JSON Schema.

        Raises:
            SchemaError: The class cannot be imported here.
        """
        from pydantic import ValidationError

        adapter = _adapter(self.reference)
        try:
            adapter.validate_json(jsontext.dumps(instance))
        except ValidationError as e:
            return [_violation(error) for error in e.errors(include_url=False, include_context=False)[:_MOST]]
        except (RecursionError, MemoryError) as e:
            return [violation((), "validator", f"cannot be validated: {type(e).__name__}")]
        except Exception as e:  # a user's validator may raise anything, and only this document must pay for it
            return [violation((), "validator", f"the validators of {self.reference} raised {type(e).__name__}: {e}")]
        return []


_CLASSES: dict[str, type] = {}
"""Classes that were given in this process, which need not be imported, and may not be importable."""


@cache
def _adapter(reference: str) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    model = _CLASSES.get(reference)
    if model is None:
        try:
            model = import_class(reference)
        except SchemaError as e:
            raise SchemaError(
                f"{reference} has validators of its own, so it must be importable on the workers: {e}"
            ) from None
    return TypeAdapter(model)


def _has_functions(core_schema: Any) -> bool:
    waiting, seen = [core_schema], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, dict):
            if node.get("type") in _FUNCTIONS and _is_users(node.get("function")):
                return True
            waiting += [value for key, value in node.items() if key not in ("serialization", "metadata")]
        elif isinstance(node, (list, tuple)):
            waiting += node
    return False


def _is_users(described: Any) -> bool:
    function = described.get("function") if isinstance(described, dict) else described
    module = getattr(function, "__module__", None)
    return not (isinstance(module, str) and f"{module}.".startswith(_OURS))


def _violation(error: Any) -> Violation:
    message = line(str(error["msg"]), 300)
    return violation(error["loc"], "validator", message)
