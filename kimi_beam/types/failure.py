"""Why a document did not become a row: a value that concerns one document, and goes with it to the dead letters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stage = Literal["read", "prompt", "submit", "poll", "infer", "parse", "validate", "type"]
"""The step of the flow in which a document failed."""

# fmt: off
Code = Literal[
    # read
    "not_utf8", "not_text", "not_json", "repeated_key", "ragged_row", "missing_id", "missing_text", "unreadable",
    "file_changed", "encrypted", "damaged", "too_many_pages", "too_many_pixels", "too_many_members", "compression_bomb",
    "nested_too_deep", "hidden_text", "unknown_kind", "reader_crashed", "reader_timeout", "reader_memory",
    "reader_failed",
    # prompt
    "empty_document", "too_large", "duplicate_id", "bad_image", "unredactable",
    # submit
    "refused", "unknown_submit", "unreachable", "quota_exhausted", "stopped", "budget",
    # poll
    "deadline", "expired", "job_failed", "no_results",
    # infer
    "item_failed", "missing_item", "malformed_item", "truncated", "empty_answer", "answer_in_reasoning", "refusal",
    "content_filter",
    "tool_call", "too_many_turns", "json_mode_unmet", "json_mode_unsupported",
    # validate, type
    "schema_violation", "redacted_value", "ungrounded", "type_mismatch",
]
# fmt: on
"""Why a document failed: a closed set. The comments name the stage in which most failures with a code happen.

Some codes occur in two stages. ``not_json`` means the input file in ``read``, the answer in ``parse``. ``not_utf8``,
``missing_id``, ``missing_text``, ``too_large`` and ``bad_image`` are found in ``read`` in a file or message, and in
``prompt`` in a document that code has made. ``deadline`` is of ``poll`` in the queue, of ``infer`` otherwise."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one document did not become a row.

    Attributes:
        stage: The step of the flow in which it failed.
        code: The reason, from a closed set: dead letters are grouped and redriven by it.
        message: The reason as one line for a person.
        retryable: Whether the same document may succeed when it is run again unchanged.
        raw: The evidence: the model's answer, or the bytes of an unreadable line in base64. None if there is none.

    Example:
        >>> kb.Failure("parse", "not_json", "the answer is not JSON", retryable=True, raw="Sorry, I cannot").code
        'not_json'
    """

    stage: Stage
    code: Code
    message: str
    retryable: bool = False
    raw: str | None = None
