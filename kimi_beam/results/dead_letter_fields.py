"""Checks the keys of a dead letter's line. Imported only to read some, because pydantic takes a tenth of a second."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import NotRequired, TypedDict

from kimi_beam.types.failure import Code, Stage

_Tokens = Annotated[int, Field(ge=0, lt=1 << 63)]
_Count = Annotated[int, Field(ge=0, lt=1 << 30)]
"""A number of attempts or rounds. It is counted on, in columns of 32 bits."""
_InBatch = Annotated[int, Field(ge=0, lt=1 << 20)]
"""A number of requests in a batch, of which 8 MB hold no more. That many references are made to read its answer."""


class LayoutLine(TypedDict):
    """The layout of a document: `kimi_beam.types.document.Layout`, its boxes in base64."""

    page_starts: list[_Count]
    image_positions: list[_Count]
    boxes: str | None


class _DocumentLine(TypedDict):
    id: str
    text: str
    images: list[str]
    metadata: dict[str, Any]
    layout: NotRequired[LayoutLine | None]
    truncated: NotRequired[bool]


class _UsageLine(TypedDict):
    prompt_tokens: _Tokens
    cached_tokens: _Tokens
    completion_tokens: _Tokens


class _OpenRequestLine(TypedDict):
    request_id: str
    key: str
    name: str
    count: _InBatch
    position: _InBatch
    form: _InBatch


class _AnswerLine(TypedDict):
    text: str
    finish_reason: str | None
    created: int | None
    model: str | None


class _PartLine(TypedDict):
    start: _Count
    end: _Count
    answer: _AnswerLine | None
    round: _Count
    open: _OpenRequestLine | None


class Line(TypedDict):
    """All keys that are read: ``document_id`` is not, because the document holds its id too."""

    document: _DocumentLine
    source: str
    stage: Stage
    code: Code
    message: str
    retryable: bool
    attempts: _Count
    request_id: str | None
    raw: str | None
    usage: _UsageLine
    model: str
    schema_hash: str
    failed_at: str
    event_time: str | None
    window: Annotated[list[str], Field(min_length=2, max_length=2)] | None
    delivery: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None
    round: _Count
    open_request: _OpenRequestLine | None
    parts: NotRequired[list[_PartLine] | None]


_LINE = TypeAdapter(Line)


def checked(content: Any) -> Line:
    """Checks the keys of a line.

    Raises:
        ValueError: A key is missing, or its value has another type.
    """
    try:
        return _LINE.validate_python(content, strict=True)
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        raise ValueError(f"/{'/'.join(map(str, first['loc']))}: {first['msg']}") from None
