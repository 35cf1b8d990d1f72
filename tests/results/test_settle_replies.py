"""A finished job that was submitted as another batch: each document has its own answer, tokens and doubts."""

from __future__ import annotations

from typing import Any

from kimi_beam.results.settle_replies import replies_of_batch
from kimi_beam.types.answer import Completion, Usage
from kimi_beam.types.document import Document
from kimi_beam.types.ticket import Ticket


def item(number: int, index: int | None = None) -> dict[str, Any]:
    """What the service says of one request; its answer and its tokens tell which request it was."""
    return {
        "external_reference": f"earlier-{number}",
        "index": number if index is None else index,
        "success": True,
        "result": {
            "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": f'{{"n":{number}}}'}}],
            "usage": {"prompt_tokens": 100 + number, "completion_tokens": number, "total_tokens": 100 + 2 * number},
        },
    }


def settled(items: list[dict[str, Any]], positions: list[int]) -> Any:
    documents = [Document(f"d{position}", "text") for position in positions]
    return replies_of_batch("own", documents, items, None, Ticket("r", 1), submitted_as=("earlier", 5, positions))


def test_each_document_has_the_answer_and_the_tokens_of_its_own_request() -> None:
    came = settled([item(n) for n in (4, 2, 0, 1, 3)], [3, 1])
    assert [reply.document.id for reply in came.replies] == ["d3", "d1"]
    assert [reply.result.text for reply in came.replies if isinstance(reply.result, Completion)] == [
        '{"n":3}',
        '{"n":1}',
    ]
    assert [reply.usage for reply in came.replies] == [Usage(103, 0, 3), Usage(101, 0, 1)]


def test_only_doubts_about_these_documents_are_counted() -> None:
    swapped = [item(0, 1), item(1, 0), item(2), item(3), item(4)]
    assert settled(swapped, [0, 1]).disputed == 2
    assert settled(swapped, [1, 3]).disputed == 1
    assert settled(swapped, [3]).disputed == 0
