"""The JSON Schema of a class, made by pydantic.

Imported only if the user's schema is a class: importing pydantic takes a tenth of a second.
"""

from __future__ import annotations

import dataclasses
from typing import Any, is_typeddict

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import is_typeddict as is_typeddict_extension


def has_schema(found: type) -> bool:
    """Whether it is a pydantic model, a dataclass or a TypedDict."""
    return (
        issubclass(found, BaseModel)
        or dataclasses.is_dataclass(found)
        or is_typeddict(found)
        or is_typeddict_extension(found)
    )


def json_schema(found: type) -> dict[str, Any]:
    """The JSON Schema of a class.

    Raises:
        ValueError: Pydantic cannot make one.
    """
    try:
        return TypeAdapter(found).json_schema(schema_generator=_Generator)
    except (PydanticUserError, TypeError, NameError) as e:
        raise ValueError(str(e)) from None


class _Generator(GenerateJsonSchema):
    """Pydantic's generator with other schemas for three types.

    A Decimal gets ``format: decimal`` (a name of the OpenAPI Initiative's registry) and its number of decimal places,
    so that its column is a decimal instead of a union of number and string. A naive datetime gets ``date-time-local``,
    because ``date-time``, which pydantic gives it, requires an offset. A union whose branch is chosen by a function
    gets ``anyOf``, because ``oneOf`` would refuse values that fit several branches.
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
