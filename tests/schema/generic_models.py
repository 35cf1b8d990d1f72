"""Models that are generic, or whose fields have aliases that are paths; each is asked, as it has a validator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, AliasChoices, AliasPath, BaseModel, ConfigDict, Field

T = TypeVar("T")
U = TypeVar("U")


def _not_negative(value: int) -> int:
    if value < 0:
        raise ValueError("negative")
    return value


Count = Annotated[int, AfterValidator(_not_negative)]


class Item(BaseModel):
    n: Count


class Page(BaseModel, Generic[T]):
    items: list[T]


class Pair(BaseModel, Generic[T, U]):
    a: T
    b: U


@dataclass
class PlainPage(Generic[T]):
    items: list[T]


class ByPath(BaseModel):
    n: Count = Field(validation_alias=AliasPath("a", "b"))


class ByShortPath(BaseModel):
    n: Count = Field(validation_alias=AliasPath("a"))


class ByPaths(BaseModel):
    n: Count = Field(0, validation_alias=AliasChoices(AliasPath("a", 0), AliasPath("b", "c")))


class Inside(BaseModel):
    pages: Page[ByPath]


class ByName(BaseModel):
    model_config = ConfigDict(validate_by_name=True)
    n: Count = Field(validation_alias=AliasPath("a", "b"))


class ByPathOrName(BaseModel):
    m: Count = Field(validation_alias=AliasChoices(AliasPath("a", 0), "n"))


class Unasked(BaseModel):
    n: int = Field(validation_alias=AliasPath("a", "b"))


REFUSED: list[Any] = [ByPath, ByShortPath, ByPaths, Inside]
TAKEN: list[Any] = [ByName, ByPathOrName, Unasked]
