"""`--dry-run`: says what a run would ask, cost and write. Nothing is sent, and no file is written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from apache_beam.options.pipeline_options import PipelineOptions

from kimi_beam.commands import console
from kimi_beam.commands.estimate.expected_requests import Expected, Expecting, messages_of
from kimi_beam.commands.estimate.forecast import Forecast, Range, forecast
from kimi_beam.commands.estimate.learnt_tokens import Factors, learnt_of, learnt_of_summary
from kimi_beam.commands.estimate.read_sample import SampleSize, first_documents, strata_of
from kimi_beam.commands.estimate.sample_totals import SampleTotals
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import output
from kimi_beam.input.read_dead_letters import chosen_documents
from kimi_beam.journal.files import Journal, existing_answers
from kimi_beam.report.summary import FILE_NAME
from kimi_beam.run import RunSettings
from kimi_beam.schema import jsontext
from kimi_beam.transforms.runner_traits import default_shards
from kimi_beam.types.document import Document

FORMAT = 1
"""The version of the JSON."""
_MOST_READ = 2_000
"""So many documents are all read, where ``--limit`` names no more."""
_SHOWN_CHARACTERS = 4_000
"""Characters of each message of the first prompt that are shown to a person; the JSON has all of them."""


def run(settings: RunSettings, options: Sequence[str], *, as_json: bool) -> int:
    """Prints the estimate of a run.

    Args:
        settings: The settings of the run.
        options: Beam's options.
        as_json: Whether it is printed as JSON, for programs.

    Returns:
        The exit code, which is 0.

    Raises:
        KimiBeamError: The input or the journal cannot be read.
    """
    journal = _journal(settings)
    expecting = Expecting(settings.extract, journal)
    first: list[Document] = []
    totals = _totals(settings, expecting, first, has_answers=journal is not None)
    summary = _summary(settings)
    factors = _factors(totals, summary)
    shards = settings.extract.shards or default_shards(PipelineOptions(list(options)), holds_jobs=True)
    found = forecast(totals, factors, settings.extract, shards)
    messages = []
    if first:
        messages = messages_of(settings.extract.prompt.request(expecting.redacted(first[0])))
    columns = {field.name: str(field.type) for field in settings.extract.schema.arrow_schema}
    with contextlib.suppress(BrokenPipeError):  # the reader of the pipe has seen enough
        if as_json:
            console.put_json(orjson.dumps(_content(found, messages, columns, settings)))
        else:
            _print(found, messages, columns, settings)
    return 0


def _totals(settings: RunSettings, expecting: Expecting, first: list[Document], *, has_answers: bool) -> SampleTotals:
    """What is expected of the documents. The first that would be sent is put into `first`."""

    def expected(documents: Iterator[Document]) -> Iterator[Expected]:
        for document in documents:
            one = expecting.expect(document)
            if not first and one.requests:
                first.append(document)
            yield one

    totals, limit, inputs = SampleTotals(), settings.limit, tuple(settings.inputs)
    if settings.redrive is not None:
        totals.add_whole(expected(chosen_documents(inputs, settings.redrive, limit)))
    elif limit is not None and limit <= _MOST_READ:
        totals.add_whole(expected(first_documents(inputs, settings.reading, limit)))
    else:
        for stratum in strata_of(inputs, settings.reading, SampleSize(), reads_first=has_answers):
            totals.add(stratum, [list(expected(unit.documents(settings.reading))) for unit in stratum.chosen])
        if limit is not None:
            totals.scale(limit)
    return totals


def _factors(totals: SampleTotals, summary: Mapping[str, Any] | None) -> Factors:
    repairs = None
    if summary is not None and summary.get("extractions") and summary.get("repairs") is not None:
        repairs = summary["repairs"] / summary["extractions"]
    factors = learnt_of(totals.known, repairs)
    if not factors.answers and summary is not None:
        return learnt_of_summary(summary, totals.mean) or factors
    return factors


def _journal(settings: RunSettings) -> Journal | None:
    """The journal of the run, if it has answers. One that is not there is not made."""
    journaling = settings.extract.journaling
    if journaling is None or not existing_answers(journaling.directory):
        return None
    journal = Journal(journaling.directory)
    journal.refresh()
    return journal


def _summary(settings: RunSettings) -> Mapping[str, Any] | None:
    """The summary of an earlier run in the output, if it had the same model and schema."""
    path = FileSystems.join(output(settings.output), FILE_NAME)
    try:
        if not FileSystems.exists(path):
            return None
        with FileSystems.open(path) as f:
            content = orjson.loads(f.read())
    except (OSError, ValueError):  # a summary that cannot be read teaches nothing
        return None
    extract = settings.extract
    is_same = isinstance(content, dict) and (content.get("model"), content.get("schema_hash")) == (
        extract.service.model,
        extract.schema.hash,
    )
    return content if is_same else None


def _content(
    found: Forecast, messages: Sequence[Mapping[str, Any]], columns: Mapping[str, str], settings: RunSettings
) -> dict[str, Any]:
    tokens = {"prompt": found.prompt, "cached": found.cached, "completion": found.completion}
    return {
        "format": FORMAT,
        "documents": found.documents,
        "by_state": dict(sorted(found.states.items())),
        "by_kind": dict(sorted(found.kinds.items())),
        "documents_read": found.read,
        "batches": found.batches,
        "requests": _rounded(found.requests),
        "tokens": {name: _rounded(one) for name, one in tokens.items()},
        "cost_usd": None if found.cost is None else _rounded(found.cost, 6),
        "hours": None if found.hours is None else _rounded(found.hours, 4),
        "max_cost_usd": settings.extract.max_cost,
        "model": settings.extract.service.model,
        "schema_hash": settings.extract.schema.hash,
        "basis": dict(found.basis),
        "first_prompt": list(messages),
        "columns": dict(columns),
    }


def _rounded(one: Range, digits: int = 0) -> dict[str, float]:
    return {name: round(number, digits) if digits else round(number) for name, number in one._asdict().items()}


def _print(
    found: Forecast, messages: Sequence[Mapping[str, Any]], columns: Mapping[str, str], settings: RunSettings
) -> None:
    basis = found.basis
    lines: list[tuple[str, Any]] = [
        ("documents", f"{found.documents} ({basis['documents']})"),
        *((f"  {_IN_WORDS.get(state, state)}", count) for state, count in sorted(found.states.items())),
        *((f"  of {kind or 'no named kind'}", count) for kind, count in sorted(found.kinds.items())),
        *((("batches", found.batches),) if found.batches else ()),
        ("requests", _words(found.requests)),
        ("prompt tokens", f"{_words(found.prompt)}; by {basis['prompt']}"),
        ("cached tokens", f"{_words(found.cached)}; by {basis['cached']}"),
        ("answer tokens", f"{_words(found.completion)}; by {basis['completion']}"),
        *((("repairs", basis["repairs"]),) if settings.extract.repairs else ()),
        ("cost", "unknown for this model (--price)" if found.cost is None else _dollars(found.cost)),
        *(_budget(found, settings)),
        ("hours at least", "no limit" if found.hours is None else f"{_hours(found.hours)}; by {basis['hours']}"),
    ]
    for name, value in lines:
        console.put(f"{name:<20}{value}")
    for message in messages:
        console.put(f"first prompt, {message['role']}:")
        content = message["content"]
        text = content if isinstance(content, str) else jsontext.dumps_any(content).decode()
        for line in text[:_SHOWN_CHARACTERS].splitlines():
            console.put(f"  {line}")
        if len(text) > _SHOWN_CHARACTERS:
            console.put(f"  … {len(text) - _SHOWN_CHARACTERS} characters more (--json shows all)")
    console.put("columns:")
    for name, kind in columns.items():
        console.put(f"  {name:<18}{kind}")
    console.put("nothing was sent")


_IN_WORDS = {
    "new": "to be asked for",
    "recalled": "in the journal, free",
    "in_flight": "in flight, free",
}
"""States of documents in words; all others are the codes of dead letters."""


def _words(one: Range) -> str:
    return f"{one.likely:,.0f} ({one.low:,.0f} to {one.high:,.0f})"


def _dollars(one: Range) -> str:
    return f"${one.likely:.4f} (${one.low:.4f} to ${one.high:.4f})"


def _hours(one: Range) -> str:
    return f"{one.likely:.3g} ({one.low:.3g} to {one.high:.3g})"


def _budget(found: Forecast, settings: RunSettings) -> Iterator[tuple[str, str]]:
    most = settings.extract.max_cost
    if most is not None and found.cost is not None:
        verdict = "suffices" if found.cost.high <= most else "may not suffice"
        yield "budget", f"${most:.4f} {'does not suffice' if found.cost.low > most else verdict}"
