"""The estimate of a run: its requests, tokens, dollars and hours, each as low, likely and high."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kimi_beam.commands.estimate.learnt_tokens import Factors
from kimi_beam.commands.estimate.sample_totals import SampleTotals
from kimi_beam.service.models import thinking_off
from kimi_beam.transforms.settings import ExtractSettings
from kimi_beam.types.answer import Usage

_REPAIRS = (0.0, 0.02, 0.15)
"""Repeated requests for each document, low, likely and high, where no earlier run has counted them [assumed]."""
_OF_A_REPAIR = 1.3
"""How large a repeated request is beside the first: it shows the refused answer too."""
_THINKING = (100, 800, 4_000)
"""Tokens of thinking for each request, low, likely and high, where no answer is known [assumed]."""
_LOW_PICTURES = 0.6
_SAMPLE_STEPS = 2.5
"""So many standard errors of the sample are in the band."""


class Range(NamedTuple):
    """A number that is not known for certain."""

    low: float
    likely: float
    high: float

    def times(self, factor: float) -> Range:
        """All three times a factor."""
        return Range(*(factor * number for number in self))


@dataclass(frozen=True, slots=True)
class Forecast:
    """The estimate of a run.

    Attributes:
        documents: How many documents there are.
        states: How many of them are new, how many the journal has, and how many become which dead letter unsent.
        kinds: How many there are of each kind of file, by its usual suffix.
        read: How many of them were read for the estimate.
        batches: How many submits to the queue there are; 0 for a synchronous API.
        requests: How many requests there are, with parts, further answers and repairs.
        prompt: Tokens that the model reads.
        cached: Those of them that come from the prefix cache.
        completion: Tokens that the model writes, its thinking included.
        cost: Dollars; None if the price of the model is not known.
        hours: How long the limit of requests a minute makes the run take at least; None if there is no limit.
        basis: What the numbers rest on, by what they are, in words.
    """

    documents: int
    states: Mapping[str, int]
    kinds: Mapping[str, int]
    read: int
    batches: int
    requests: Range
    prompt: Range
    cached: Range
    completion: Range
    cost: Range | None
    hours: Range | None
    basis: Mapping[str, str]


def forecast(totals: SampleTotals, factors: Factors, settings: ExtractSettings, shards: int) -> Forecast:
    """The estimate of a run.

    Args:
        totals: What is expected of its documents.
        factors: What earlier answers teach.
        settings: The settings of the run.
        shards: How many shards its documents are spread over.
    """
    numbers, samples = totals.numbers, settings.samples
    batches = _batches(totals, settings, shards)
    repeats = _repeats(factors, settings)
    off = _SAMPLE_STEPS * totals.error("constant", "words", "pictures")
    requests = Range(*(numbers["requests"] * samples * (1 + rate) for rate in repeats))
    constant = factors.constant * numbers["constant"]
    text = constant + factors.words * numbers["words"]
    error = math.hypot(factors.prompt_error, off)
    pictures = numbers["pictures"]
    once = Range(
        text * max(0.0, 1 - error) + pictures * _LOW_PICTURES * max(0.0, 1 - off),
        text + pictures,
        text * (1 + error) + numbers["most_for_pictures"] * (1 + off),
    )
    prompt = Range(*(tokens * samples * (1 + _OF_A_REPAIR * rate) for tokens, rate in zip(once, repeats, strict=True)))
    cached = _cached(factors, constant * samples, requests.likely, batches, prompt)
    completion = _completion(totals, factors, settings, requests, repeats)
    price = settings.known_price
    cost = None
    if price is not None:
        triples = (
            (prompt.low, min(cached.high, prompt.low), completion.low),
            (prompt.likely, cached.likely, completion.likely),
            (prompt.high, cached.low, completion.high),
        )
        cost = Range(*(price.cost(Usage(round(p), round(c), round(a))) for p, c, a in triples))
    by_queue = settings.service.api == "batch"
    pace = settings.service.submit_pace if by_queue else settings.service.pace
    sent = requests.times(batches / requests.likely) if by_queue and requests.likely else requests
    return Forecast(
        totals.documents,
        totals.states,
        totals.kinds,
        totals.read,
        batches if by_queue else 0,
        requests,
        prompt,
        cached,
        completion,
        cost,
        None if pace is None else sent.times(1 / pace / 60),
        _basis(totals, factors, settings),
    )


def _batches(totals: SampleTotals, settings: ExtractSettings, shards: int) -> int:
    requests = math.ceil(totals.numbers["requests"] * settings.samples)
    if not requests:
        return 0
    limits, size = settings.batching, totals.numbers["size"] * settings.samples / requests
    in_a_batch = max(1, min(limits.max_items, int(limits.max_bytes / max(1.0, size))))
    shards = min(shards, requests)
    return shards * math.ceil(requests / shards / in_a_batch)


def _repeats(factors: Factors, settings: ExtractSettings) -> Range:
    """Repeated requests for each document."""
    if not settings.repairs:
        return Range(0, 0, 0)
    if factors.repairs is None:
        return Range(*_REPAIRS)
    return Range(factors.repairs / 2, factors.repairs, 1.5 * factors.repairs + 0.02)


def _cached(factors: Factors, constant: float, requests: float, batches: int, prompt: Range) -> Range:
    """What comes from the cache of what all requests begin with."""
    if factors.cached is not None:
        found = Range(*factors.cached).times(requests)
    else:
        share = max(0.0, 1 - batches / requests) if requests else 0.0
        found = Range(0.0, share, 1.0).times(constant)
    return Range(*(min(tokens, most) for tokens, most in zip(found, prompt, strict=True)))


def _completion(
    totals: SampleTotals, factors: Factors, settings: ExtractSettings, requests: Range, repeats: Range
) -> Range:
    answers = factors.answer * totals.numbers["answer"] * settings.samples
    off = _SAMPLE_STEPS * totals.error("answer")
    shares = (max(0.0, factors.answer_low - off), 1.0, factors.answer_high + off)
    thoughts = _THINKING if _thinks(settings) and not factors.answers else (0, 0, 0)
    most = settings.prompt.answer_limit
    low, likely, high = (
        min(answers * share * (1 + rate) + thought * count, most * count)
        for share, rate, thought, count in zip(shares, repeats, thoughts, requests, strict=True)
    )
    return Range(low, likely, high)


def _thinks(settings: ExtractSettings) -> bool:
    return settings.thinking or not thinking_off(settings.service.model)


def _basis(totals: SampleTotals, factors: Factors, settings: ExtractSettings) -> dict[str, str]:
    read = "all documents were read"
    if not totals.is_whole:
        read = f"{totals.read} documents were read, of each kind and size, and the others taken to be like them"
    answers = "the schema, and the lines of each document that look like rows"
    if factors.answers:
        answers = factors.basis
    elif _thinks(settings):
        answers += f", and {_THINKING[0]} to {_THINKING[2]} tokens of thinking for each request, which is assumed"
    cached = "what all requests begin with, of all but the first of each batch, which is assumed"
    if factors.cached is not None:
        cached = factors.basis
    by_queue = settings.service.api == "batch"
    return {
        "documents": read,
        "prompt": factors.basis,
        "completion": answers,
        "cached": cached,
        "repairs": "an earlier run"
        if factors.repairs is not None
        else "2 in 100 documents, up to 15, which is assumed",
        "hours": "submits a minute alone: how long the queue takes is not documented"
        if by_queue
        else "requests a minute",
    }
