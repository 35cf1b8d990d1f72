"""The fast path for a poll's reply: reads a finished job whose answers all have the usual form, in one pass.

Nearly every large reply is of this form. A parser with a fixed schema skips all other fields, and takes half the time
of one that makes a dict of each object. Any other reply is read by `protocol` and `completions`, field by field; they
read the usual form too, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter, le
from typing import Annotated, Any, Literal, overload

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from kimi_beam.columnar import Results, Tokens
from kimi_beam.types.answer import Usage
from kimi_beam.wire.envelopes import HttpReply, read_json, result_of
from kimi_beam.wire.usage import COUNT_LIMIT, END_OF_TIME, Stated, decode_usage

_Count = Annotated[int, Meta(ge=0, lt=COUNT_LIMIT)]
_Text = Annotated[str, Meta(min_length=1)]


class _Message(Struct, gc=False):
    content: _Text
    tool_calls: list[Any] | None = None
    refusal: str | None = None


class _Choice(Struct, gc=False):
    finish_reason: Literal["stop"]
    message: _Message


class _Details(Struct, gc=False):
    cached_tokens: _Count


class _Usage(Struct, gc=False):
    prompt_tokens: _Count
    completion_tokens: _Count
    prompt_tokens_details: _Details | None = None


class _Result(Struct, gc=False):
    model: str
    created: Annotated[int, Meta(gt=0, lt=END_OF_TIME)]
    choices: Annotated[list[_Choice], Meta(min_length=1)]
    usage: _Usage


class _Item(Struct, gc=False):
    external_reference: _Text
    result: _Result
    success: bool = True
    index: Any = None
    id: Any = None


class _Job(Struct, gc=False):
    results: Annotated[list[_Item], Meta(min_length=1)]
    status: UnsetType | None = UNSET
    usage: Any = None
    request_id: Any = None
    request_id_in_camel_case: Any = msgspec.field(default=None, name="requestId")


class _Envelope(Struct, gc=False):
    result: _Job
    success: bool = True


def are_in_order(numbers: Sequence[Any]) -> bool:
    """Whether the items, which are in the order of the requests, are numbered in that order or not numbered at all."""
    return numbers == list(range(len(numbers))) or not any(type(number) is int for number in numbers)


_DECODER = msgspec.json.Decoder(_Envelope)
_REFERENCE = attrgetter("external_reference")


class UsualItems(Sequence[Any]):
    """The items of such a job. As a sequence they are JSON objects in the order of the reply, like any other items.

    Args:
        read: The items as read with the fixed schema.
        body: The body of the reply. It is parsed again if the objects themselves are needed after all.
    """

    def __init__(self, read: Sequence[_Item], body: bytes) -> None:
        self._read, self._body = read, body
        self._objects: list[Any] | None = None
        self._by_column: tuple[Sequence[str], tuple[Results, Stated] | None] | None = None

    def __len__(self) -> int:
        return len(self._read)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        return self._all()[index]

    def _all(self) -> list[Any]:
        if self._objects is None:
            # The other parser may refuse something that the first one skipped; then the reply holds no answers.
            objects = result_of(read_json(self._body)).get("results")
            self._objects = objects if isinstance(objects, list) else []
        return self._objects

    def by_column(self, references: Sequence[str]) -> tuple[Results, Stated] | None:
        """Returns the same as `completions.decode_items` of the items that `matching.match` found.

        Args:
            references: The references of the requests, in their order.

        Returns:
            The results and tokens; None if there is not exactly one item for each of these requests, or if anything in
            them is unusual, such as a number that contradicts the reference.
        """
        if self._by_column is None or self._by_column[0] != references:
            self._by_column = references, self._read_by_column(references)
        return self._by_column[1]

    def _read_by_column(self, references: Sequence[str]) -> tuple[Results, Stated] | None:
        by_reference = dict(zip(map(_REFERENCE, self._read), self._read, strict=True))
        if not len(by_reference) == len(self._read) == len(references):
            return None
        try:
            items = [by_reference[reference] for reference in references]
        except KeyError:
            return None
        results = [item.result for item in items]
        choices = [result.choices[0] for result in results]
        messages = [choice.message for choice in choices]
        texts = [message.content for message in messages]
        usages = [result.usage for result in results]
        prompt = [usage.prompt_tokens for usage in usages]
        cached = [details.cached_tokens if (details := usage.prompt_tokens_details) else 0 for usage in usages]
        if (
            any(message.tool_calls or message.refusal for message in messages)
            or not all(item.success for item in items)
            or any(map(str.isspace, texts))
            or not all(map(le, cached, prompt))
            or not are_in_order([item.id if item.index is None else item.index for item in items])
        ):
            return None
        finish_reasons: list[str] = [choice.finish_reason for choice in choices]
        created, models = [result.created for result in results], [result.model for result in results]
        completion = [usage.completion_tokens for usage in usages]
        return Results(texts, finish_reasons, created, models, {}), Stated(Tokens(prompt, cached, completion), [])


def usual_reply(reply: HttpReply) -> tuple[UsualItems, Usage | None] | None:
    """Reads the items of a finished job and the job's tokens; None if the reply is not of the usual form."""
    if not 200 <= reply.status < 300:
        return None
    try:
        if not reply.body.isascii():
            reply.body.decode()  # the decoder does not check the UTF-8 of the fields that it skips
        read = _DECODER.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    job = read.result
    if not read.success or job.request_id is not None or job.request_id_in_camel_case is not None:
        return None
    return UsualItems(job.results, reply.body), decode_usage(job.usage)
