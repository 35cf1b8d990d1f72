"""The name of every counter, once. All are Beam counters of the namespace ``kimi_beam``."""

from __future__ import annotations

NAMESPACE = "kimi_beam"

DOCUMENTS = "documents"
"""Documents that came in. Those that neither `EXTRACTIONS` nor `DEAD_LETTERS` counts are in flight."""
EXTRACTIONS = "extractions"
"""Documents that became rows."""
DEAD_LETTERS = "dead_letters"
"""Documents that became dead letters."""
BATCHES = "batches"
"""Batches that were formed: each is one job unless the service refuses or loses it."""
SUBMITS = "submits"
"""Submits sent, repetitions included."""
UNKNOWN_SUBMITS = "unknown_submits"
"""Submits that ended without a word: they may have been paid for."""
REQUESTS = "requests"
"""Synchronous requests sent, repetitions included."""
FALLBACKS = "fallbacks"
"""Documents asked for again because JSON mode could not be met (5024)."""
POLLS = "polls"
"""Polls sent."""
EVENT_PULLS = "event_pulls"
"""Requests for events that tell which jobs have ended."""
DELAYS = "delays"
"""Times the service said to come back later (429, 3040)."""
RESUBMITS = "resubmits"
"""Submits and synchronous requests that were taken, or may have been, although an earlier one of the same documents had
been or may have been: it ended without a word, or its job was lost by the service (5504) or not done in time."""
MAYBE_PAID_TWICE = "documents_maybe_paid_twice"
"""The documents of `RESUBMITS`. Nobody outside the service knows which of them were billed twice."""
RECALLED = "recalled"
"""Documents whose answer was in the journal: nothing was paid for them again."""
ADOPTED = "adopted"
"""Jobs that an earlier run or worker had submitted, polled instead of submitted again."""
SPLITS = "splits"
"""Batches cut in two because the service refused them whole."""
SURPLUS_ITEMS = "surplus_items"
"""Items of a finished job that answered nothing that was asked: strangers and doubles."""
MISMATCHED_ITEMS = "mismatched_items"
"""Items of a finished job with the reference of one document and the number of another."""
ACCOUNT_TROUBLE = "account_trouble"
"""Times an unbounded pipeline was held because token, account or model were turned away."""
NULLS_AS_ABSENT = "nulls_as_absent"
"""Nulls in answers that were taken as absent: what is sent asks for null where an optional property has no value."""
ROWS_WITH_UNNAMED_KEYS = "rows_with_unnamed_keys"
"""Rows whose answer has a key that the schema allows but does not name: it stands in ``_additional``."""

ALL = (
    DOCUMENTS,
    EXTRACTIONS,
    DEAD_LETTERS,
    BATCHES,
    SUBMITS,
    UNKNOWN_SUBMITS,
    REQUESTS,
    FALLBACKS,
    POLLS,
    EVENT_PULLS,
    DELAYS,
    RESUBMITS,
    MAYBE_PAID_TWICE,
    RECALLED,
    ADOPTED,
    SPLITS,
    SURPLUS_ITEMS,
    MISMATCHED_ITEMS,
    ACCOUNT_TROUBLE,
    NULLS_AS_ABSENT,
    ROWS_WITH_UNNAMED_KEYS,
)
