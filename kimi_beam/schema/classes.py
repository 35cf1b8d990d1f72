"""The JSON Schema of a class, by pydantic.

Imported where a class is given: pydantic takes a tenth of a second, which a schema in a file need not wait for.
"""

from __future__ import annotations

import dataclasses
from typing import Any, is_typeddict

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import is_typeddict as is_typeddict_extension


def has_schema(found: type) -> bool:
    """Whether it is a class of a kind that has one."""
    return (
        issubclass(found, BaseModel)
        or dataclasses.is_dataclass(found)
        or is_typeddict(found)
        or is_typeddict_extension(found)
    )


def json_schema(found: type) -> dict[str, Any]:
    """Its JSON Schema.

    Raises:
        ValueError: It has none.
    """
    try:
        return TypeAdapter(found).json_schema(schema_generator=_Generator)
    except (PydanticUserError, TypeError, NameError) as e:
        raise ValueError(str(e)) from None


class _Generator(GenerateJsonSchema):
    """Pydantic's own, but for three types.

    A Decimal is said to be one (``format: decimal``, a name of the OpenAPI Initiative's registry), so that its column
    is a decimal and not a number beside a string; one with so many places says so. A datetime without an offset is not
    what ``date-time`` means, which pydantic says of it; its column is one of local times.
    Branches of a union among which a function of the user's chooses may overlap, which ``oneOf`` would refuse.
    """

    def tagged_union_schema(self, schema: Any) -> dict[str, Any]:
        found: dict[str, Any] = super().tagged_union_schema(schema)
        if callable(schema["discriminator"]) and "oneOf" in found:
            found["anyOf"] = found.pop("oneOf")
        return found

    def datetime_schema(self, schema: Any) -> dict[str, Any]:
        if schema.get("tz_constraint") != "naive":
            return super().datetime_schema(schema)
        said = "Local date and time without an offset, as 2026-03-01T14:30:00"
        return {"type": "string", "x-arrow-type": "timestamp[us]", "description": said}

    def decimal_schema(self, schema: Any) -> dict[str, Any]:
        found: dict[str, Any] = super().decimal_schema(schema)
        places = schema.get("decimal_places")
        if not isinstance(places, int) or not 0 < places <= 38:
            return {**found, "format": "decimal"}
        digits = min(38, max(schema.get("max_digits") or 29 + places, places))  # 29: as BigQuery's NUMERIC
        step = float(f"1e-{places}")
        for branch in found.get("anyOf", [found]):
            if branch.get("type") == "number":
                branch.setdefault("multipleOf", step)
        return {**found, "format": "decimal", "x-arrow-type": f"decimal128({digits}, {places})"}
