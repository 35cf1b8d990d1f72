"""The names of the metrics: Beam counters and distributions of the namespace ``kimi_beam``.

``summary.json``, the progress of a run and what is sent to OpenTelemetry have them by the same names.
"""

from __future__ import annotations

NAMESPACE = "kimi_beam"

DOCUMENTS = "documents"
"""Documents that `Extract` has read. Those that neither `EXTRACTIONS` nor `DEAD_LETTERS` counts are in flight."""
EXTRACTIONS = "extractions"
"""Documents that became rows."""
DEAD_LETTERS = "dead_letters"
"""Documents that became dead letters."""
PICTURES = "pictures"
"""Pictures of the documents that `Extract` has read."""
PICTURES_SENT = "pictures_sent"
"""Pictures in the submits and synchronous requests that were sent, repetitions included."""
BATCHES = "batches"
"""Batches that were formed: each is one job unless the service refuses or loses it."""
SUBMITS = "submits"
"""Submits sent, repetitions included."""
UNKNOWN_SUBMITS = "unknown_submits"
"""Submits that ended without a reply: they may have been paid for."""
REQUESTS = "requests"
"""Synchronous requests sent, repetitions included."""
FALLBACKS = "fallbacks"
"""Documents asked for again because JSON mode could not be met (5024)."""
POLLS = "polls"
"""Polls sent."""
EVENT_PULLS = "event_pulls"
"""Requests that pull events, which tell of jobs that have ended."""
DELAYS = "delays"
"""How often the service said to come back later (429, 3040)."""
RESUBMITS = "resubmits"
"""Submits and synchronous requests that repeat an earlier one, where the service has accepted both or may have: the
earlier one ended without a reply, or its job was lost by the service (5504) or had not ended by its deadline."""
MAYBE_PAID_TWICE = "documents_maybe_paid_twice"
"""The documents of `RESUBMITS`. Only the service knows which of them were billed twice."""
RECALLED = "recalled"
"""Documents whose answer was in the journal: nothing was paid for them again."""
ADOPTED = "adopted"
"""Jobs that an earlier run or worker had submitted, and that were polled instead of submitted again."""
SPLITS = "splits"
"""Batches cut in two because the service refused them whole."""
SURPLUS_ITEMS = "surplus_items"
"""Items of a finished job that belong to no document of it, or to one that has an item already."""
MISMATCHED_ITEMS = "mismatched_items"
"""Items of a finished job whose reference names one document and whose index names another."""
ACCOUNT_TROUBLE = "account_trouble"
"""How often an unbounded pipeline paused because token, account or model were turned away."""
PARTS = "parts"
"""Parts of long documents that were put in line, those that were put there once more included."""
REPAIRS = "repairs"
"""Documents and parts that were asked for again because their answer was refused, or lacked rows, or had wrong sums."""
FREE_REPAIRS = "free_repairs"
"""Repairs of answers that needed no second request, in the rows: the column ``_provenance.repairs`` names each."""
NULLS_AS_ABSENT = "nulls_as_absent"
"""Nulls in answers that were read as absent: the schema that is sent asks for null if an optional property has no
value."""
ROWS_WITH_UNNAMED_KEYS = "rows_with_unnamed_keys"
"""Rows whose answer has keys that the schema allows but does not name; they are in the column ``_additional``."""
SKIPPED_FILES = "skipped_files"
"""Files and members of archives that were passed over because they are of kinds that cannot be read. The reading counts
them (`kimi_beam.input.skipped_files`), which does not know this module."""
SKIPPED_NAMESPACE = "kimi_beam.skipped_files"
"""The namespace of counters whose names are the paths of `SKIPPED_FILES`."""

BATCH_SIZE = "batch_size"
"""How many documents a batch has that is formed."""
QUEUE_SECONDS = "queue_seconds"
"""How long a job was in the queue, from when it was accepted until its answers were fetched, in whole seconds."""
ANSWER_TOKENS = "answer_tokens"
"""How many tokens the model wrote for a document, if it answered."""

DISTRIBUTIONS = (BATCH_SIZE, QUEUE_SECONDS, ANSWER_TOKENS)
"""The names of the distributions, each of which has a count, sum, least and greatest value."""

ALL = (  # counters, in the order in which a table of them reads best
    DOCUMENTS,
    EXTRACTIONS,
    DEAD_LETTERS,
    PICTURES,
    PICTURES_SENT,
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
    PARTS,
    REPAIRS,
    FREE_REPAIRS,
    NULLS_AS_ABSENT,
    ROWS_WITH_UNNAMED_KEYS,
    SKIPPED_FILES,
)
