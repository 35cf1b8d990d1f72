"""Classes whose JSON Schema does not say all, or that change what they are given; workers import them by name."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from pathlib import PurePosixPath
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import annotated_types
from pydantic import (
    AfterValidator,
    AliasChoices,
    AnyUrl,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    FutureDatetime,
    HttpUrl,
    Json,
    NaiveDatetime,
    PastDate,
    PlainSerializer,
    RootModel,
    SecretStr,
    StringConstraints,
    Tag,
    UrlConstraints,
    computed_field,
    field_serializer,
    model_validator,
)
from typing_extensions import NotRequired, TypedDict

T = TypeVar("T")


class Holder(BaseModel, Generic[T]):
    v: T


Since2020 = Holder[Annotated[date, Field(ge=date(2020, 1, 1))]]
Past = Holder[PastDate]
Future = Holder[FutureDatetime]
Listed = Holder[Json[list[int]]]
Naive = Holder[NaiveDatetime]
Aware = Holder[AwareDatetime]
Secure = Holder[Annotated[AnyUrl, UrlConstraints(allowed_schemes=["https"])]]
Ip = Holder[IPv4Address]
Short = Holder[Annotated[timedelta, Field(le=timedelta(hours=1))]]
Odd = Holder[Annotated[int, annotated_types.Predicate(lambda n: n % 2 == 1)]]
Digits = Holder[Annotated[Decimal, Field(max_digits=4)]]
Bytes = Holder[Annotated[bytes, Field(max_length=3)]]
Finite = Holder[Annotated[float, Field(allow_inf_nan=False)]]
Strict = Holder[Annotated[int, Field(strict=True)]]
Stream = Holder[Iterable[int]]
Either = Holder[Annotated[date, Field(ge=date(2020, 1, 1))] | int]
Nested = Holder[list[dict[str, Since2020]]]


class Cat(BaseModel):
    kind: Literal["cat"]
    born: PastDate


class Dog(BaseModel):
    kind: Literal["dog"]


Pet = Holder[Annotated[Cat | Dog, Field(discriminator="kind")]]


class Plain(BaseModel):
    kind: str


class Dated(BaseModel):
    kind: str
    day: PastDate


def _which(value: Any) -> str:
    kind: str = value["kind"] if isinstance(value, dict) else value.kind
    return "dated" if kind == "dated" else "plain"


Chosen = Holder[Annotated[Annotated[Plain, Tag("plain")] | Annotated[Dated, Tag("dated")], Discriminator(_which)]]


class Row(TypedDict):
    day: Annotated[date, Field(ge=date(2020, 1, 1))]
    note: NotRequired[Annotated[str, StringConstraints(strip_whitespace=True)]]


@dataclasses.dataclass
class Line:
    day: Annotated[date, Field(ge=date(2020, 1, 1))]
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Counted:
    word: str
    letters: int = dataclasses.field(init=False, default=0)

    def __post_init__(self) -> None:
        self.letters = len(self.word)


class Root(RootModel[list[PastDate]]):
    pass


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


Upper = Annotated[str, AfterValidator(lambda text: text.strip().upper())]


class Entry(BaseModel):
    sku: Upper
    price: Decimal = Decimal("0.10")


class Cleaned(BaseModel):
    """Changes values, fills in defaults, and serializes otherwise than it validates."""

    model_config = ConfigDict(ser_json_bytes="base64")

    name: Upper
    currency: str = "EUR"
    note: str | None = None
    gone: Annotated[str | None, AfterValidator(lambda text: None if text == "N/A" else text)] = None
    tags: Annotated[list[str], AfterValidator(lambda tags: sorted(set(tags)))] = []
    lines: list[Entry] = []
    hidden: str = Field("h", exclude=True)
    total: float = Field(0.0, validation_alias=AliasChoices("total", "sum"), serialization_alias="TOTAL")
    shown: str = "plain"

    @field_serializer("shown")
    def _shown(self, value: str) -> str:
        return f"<{value}>"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def length(self) -> int:
        return len(self.name)


class Everything(BaseModel):
    """One value of each kind that is no JSON by itself; none of them is changed."""

    day: date
    at: datetime
    lasts: timedelta
    id: UUID
    size: Size
    amount: Decimal
    exact: Annotated[Decimal, Field(decimal_places=2)]
    ratio: float
    url: HttpUrl
    ip: IPv4Address
    path: PurePosixPath
    secret: SecretStr
    raw: bytes
    coded: Base64Bytes
    listed: Json[list[int]]
    bag: set[str]
    pair: tuple[int, str]
    last: deque[int]
    by_day: dict[date, int]
    row: Row
    line: Line
    stream: Iterable[int]
    anything: Any
    custom: Annotated[PurePosixPath, PlainSerializer(lambda path: {"path": str(path)})]


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Upper]

    a: int


class Items(BaseModel):
    items: Annotated[list[Entry], AfterValidator(lambda items: sorted(items, key=lambda item: item.sku))]


class Firsts(BaseModel):
    items: Annotated[list[Entry], AfterValidator(lambda items: items[1:])]


class Renamed(BaseModel):
    total: float

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, data: Any) -> Any:
        return {**data, "total": data["total"] * 2}


class Misfit(BaseModel):
    """Its column holds integers, and the class makes something else of them."""

    n: Annotated[Any, BeforeValidator(lambda n: ["x"] if n == 1 else n, json_schema_input_type=int)]


class Opaque(BaseModel):
    n: Annotated[Any, BeforeValidator(lambda n: object() if n == 1 else n, json_schema_input_type=int)]


class Infinite(BaseModel):
    n: Annotated[float, AfterValidator(lambda n: float("inf") if n == 1 else n)]


class Halves(BaseModel):
    n: Annotated[str, AfterValidator(lambda n: "\ud83d" if n == "x" else n)]


class Tagged(BaseModel):
    v: Annotated[Annotated[int, Tag("i")] | Annotated[Upper, Tag("s")], Field(union_mode="left_to_right")]


class Tree(BaseModel):
    name: Upper
    children: list[Tree] = []
