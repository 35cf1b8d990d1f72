"""Classes that tests make schemas of; a module of its own, as workers import them by name."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, field_validator, model_validator
from typing_extensions import NotRequired, TypedDict


class Plain(BaseModel):
    """No validators of its own."""

    name: str = Field(min_length=1)
    count: int = 0


class Checked(BaseModel):
    """A total that must be the sum of its parts, as no JSON Schema can say."""

    parts: list[float]
    total: float
    code: str = "A"

    @model_validator(mode="after")
    def _adds_up(self) -> Checked:
        if abs(sum(self.parts) - self.total) > 0.005:
            raise ValueError("the total is not the sum of its parts")
        return self

    @field_validator("code")
    @classmethod
    def _known(cls, code: str) -> str:
        if code == "KeyError":
            raise KeyError(code)
        assert code != "bad", "no such code"
        return code


class Outer(BaseModel):
    inner: list[Checked]


def _even(number: int) -> int:
    if number % 2:
        raise ValueError("odd")
    return number


class Annotation(BaseModel):
    number: Annotated[int, AfterValidator(_even)]


class Money(BaseModel):
    net: Annotated[Decimal, Field(max_digits=12, decimal_places=2)]
    rate: Annotated[Decimal, Field(decimal_places=4)] | None = None
    free: Decimal | None = None


@dataclasses.dataclass
class Point:
    x: int
    label: str | None = None


class Options(TypedDict):
    a: int
    b: NotRequired[str]


NOT_A_CLASS: Any = 5
