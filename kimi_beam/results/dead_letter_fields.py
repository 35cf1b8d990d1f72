"""What each key of a dead letter's line may hold. Imported where some are read: pydantic takes a tenth of a second."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import NotRequired, TypedDict

from kimi_beam.types import Code, Stage

_Tokens = Annotated[int, Field(ge=0, lt=1 << 63)]
_Count = Annotated[int, Field(ge=0, lt=1 << 30)]
"""Of attempts and rounds, which go on from here in 32 bits."""
_InBatch = Annotated[int, Field(ge=0, lt=1 << 20)]
"""Of the requests of a batch: its 8 MB hold no more, and their references are made anew when the answer comes."""


class _DocumentLine(TypedDict):
    id: str
    text: str
    images: list[str]
    metadata: dict[str, Any]
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


class Line(TypedDict):
    """All keys but ``document_id``, which stands in the document as well."""

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


_LINE = TypeAdapter(Line)


def checked(content: Any) -> Line:
    """The keys of a line.

    Raises:
        ValueError: One is missing, or holds something else.
    """
    try:
        return _LINE.validate_python(content, strict=True)
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        raise ValueError(f"/{'/'.join(map(str, first['loc']))}: {first['msg']}") from None
