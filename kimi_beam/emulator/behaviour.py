"""What the service does where nobody has written down what it does.

Every field is one row of what is unknown about Workers AI batch on Kimi: the default is the likelier case, the other
values are the alternatives, so that a client can be tried against each. All of it is [assumed] unless a field says
otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DAY: float = 24 * 60 * 60.0


@dataclass(frozen=True)
class Behaviour:
    """The choices an emulator is started with.

    Attributes:
        array: Name of the array in a finished job: ``results`` with ``index`` [observed: a live K2.6 job], or
            ``responses`` with ``id`` and ``external_reference: null`` where none was sent [documented: batch page,
            classic models].
        order: Order of the items in a finished job: ``shuffled`` by the seed [observed: not submit order], or
            ``submitted``.
        item_failure: Where the reason of a failed item stands: under ``error``, under ``result`` as a list of errors,
            or nowhere, because the item is ``missing``.
        job_failure: What polling a failed job answers: an HTTP ``error`` (500) with code 5001, or a ``status`` of
            ``error``.
        unknown_id_status: HTTP status with code 5504 for an unknown or expired request id: 404 or 400 [observed:
            "4xx"].
        no_queue_status: HTTP status with code 8007 for a model without a queue: 400 or 405.
        empty_requests: ``requests: []`` is ``refused`` (400 / 5006) or ``accepted`` (a job with an empty array).
        oversize: A body over ``size_limit`` is ``accepted`` and never finishes [observed: 47 MB], or ``refused`` (413 /
            3006).
        size_limit: Bytes a submit may have; 10 MB [documented: batch pages].
        retention: Seconds after which a job is forgotten; 24 hours. A job a week old was gone [observed].
        k2_5_queue: Submitting to kimi-k2.5 is ``refused`` (8007) [observed: its last known answer], or served through
            the ``alias`` of kimi-k2.6 while ``model`` still says k2.5.
        requests_per_minute: Requests (submit, poll, run) a minute for each account and model before 429 / 3021 with
            ``Retry-After``; None is no limit. The synchronous limit of K2.6 is 20 [documented: limits page]; whether
            submits and polls count is unknown.
        cached_tokens: ``cached_tokens`` is reported for the ``job`` only, ``null`` in each item [observed], or per
            ``item`` too.
        enforce_schema: Whether the schema in ``response_format`` shapes the answer; if not, it is ignored, as some
            models do.
    """

    array: Literal["results", "responses"] = "results"
    order: Literal["shuffled", "submitted"] = "shuffled"
    item_failure: Literal["error", "result", "missing"] = "error"
    job_failure: Literal["error", "status"] = "error"
    unknown_id_status: Literal[404, 400] = 404
    no_queue_status: Literal[400, 405] = 400
    empty_requests: Literal["refused", "accepted"] = "refused"
    oversize: Literal["accepted", "refused"] = "accepted"
    size_limit: int = 10_000_000
    retention: float = DAY
    k2_5_queue: Literal["refused", "alias"] = "refused"
    requests_per_minute: int | None = None
    cached_tokens: Literal["job", "item"] = "job"
    enforce_schema: bool = True
