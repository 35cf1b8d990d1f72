"""The reply of a part as bytes, as it waits in state for those of the other parts."""

from __future__ import annotations

import struct
from dataclasses import asdict

import orjson

from kimi_beam.errors import StateError
from kimi_beam.request import batches
from kimi_beam.request.batches import Item
from kimi_beam.types.answer import AnswerReport, Completion, Repair, Usage
from kimi_beam.types.failure import Failure
from kimi_beam.types.reply import Reply
from kimi_beam.types.ticket import OpenRequest, Ticket

_VERSION = 1
"""The version of the bytes. A change that an earlier kimi_beam would misread gets a new one; other versions are
refused."""
_PREFIX = struct.Struct(">BI")  # version, bytes of the JSON


def encode(reply: Reply) -> bytes:
    """The bytes of a reply."""
    answered = isinstance(reply.result, Completion)
    beside = orjson.dumps(
        {
            "answer" if answered else "failure": asdict(reply.result),
            "usage": asdict(reply.usage),
            "ticket": asdict(reply.ticket),
            "open": reply.open and asdict(reply.open),
            **({"repairs": list(map(asdict, reply.report.repairs))} if reply.report else {}),
            **({"incomplete": reply.report.incomplete} if reply.report and reply.report.incomplete else {}),
        }
    )
    return _PREFIX.pack(_VERSION, len(beside)) + beside + batches.encode([Item(reply.document, 0)])


def decode(stored: bytes) -> Reply:
    """The reply of bytes.

    Raises:
        StateError: Another version of kimi_beam wrote them.
    """
    version, length = _PREFIX.unpack_from(stored)
    if version != _VERSION:
        raise StateError.of("the answer of a part", version, (_VERSION,))
    start = _PREFIX.size + length
    beside = orjson.loads(stored[_PREFIX.size : start])
    (document,) = batches.decode(stored[start:])
    result = Completion(**beside["answer"]) if "answer" in beside else Failure(**beside["failure"])
    is_open = beside["open"]
    repairs, incomplete = tuple(Repair(**one) for one in beside.get("repairs", ())), tuple(beside.get("incomplete", ()))
    return Reply(
        document,
        result,
        Usage(**beside["usage"]),
        Ticket(**beside["ticket"]),
        OpenRequest(**is_open) if is_open else None,
        AnswerReport(repairs=repairs, incomplete=incomplete) if repairs or incomplete else None,
    )
