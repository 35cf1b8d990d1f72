"""What earlier answers teach: how many tokens the model counts where the table of character classes counts one.

The journal has the model's own count for each answer. Those of the documents that were read again for the estimate are
compared with what was expected of them. Without such answers the summary of an earlier run may tell the means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from kimi_beam.commands.estimate.expected_requests import Expected

_BEFORE = 0.12
"""How far off the table may be, as a standard deviation: sets of documents that it was not fitted on are up to 10 in a
hundred off, and another vocabulary up to 8."""
_OF_A_DOCUMENT = 0.07
"""How far off it is for one document beside the mean, as a standard deviation (3 to 7 in a hundred, by the fit)."""
_COLD_PROMPT, _COLD_ANSWER = 0.2, (0.3, 2.5)
_LEAST_PROMPT, _LEAST_ANSWER = 0.02, 0.04
"""What remains uncertain however many answers are known: later documents may be of another sort."""
_STEPS = 3.0
"""So many standard errors to each side are in the band."""
_LEAST_ANSWERS = 5
_MOST_CACHED = 1.1
"""How much more may come from the cache than has for any document: jobs state it as a sum, which is shared out."""


@dataclass(frozen=True, slots=True)
class Factors:
    """By what the expected tokens are multiplied, and how far off that may be.

    Attributes:
        constant: Of instructions and schema.
        words: Of documents.
        prompt_error: The share of the prompt by which it may be off, to either side.
        answer: Of answers. What is learnt has the thinking in it.
        answer_low: The lowest share of the answers that is likely.
        answer_high: The highest.
        cached: Tokens of a request that come from the cache, low, likely and high; None if that is not known.
        repairs: Requests that repeat a refused one, for each document; None if that is not known.
        answers: How many answers of the model this was learnt from.
        basis: What it rests on, in words.
    """

    constant: float = 1.0
    words: float = 1.0
    prompt_error: float = _COLD_PROMPT
    answer: float = 1.0
    answer_low: float = _COLD_ANSWER[0]
    answer_high: float = _COLD_ANSWER[1]
    cached: tuple[float, float, float] | None = None
    repairs: float | None = None
    answers: int = 0
    basis: str = "a table of tokens by classes of characters, as no answer of this model and schema is known yet"


def learnt_of(known: Sequence[Expected], repairs: float | None = None) -> Factors:
    """What answers in the journal teach.

    Args:
        known: Documents of which the journal has an answer. Those with pictures do not count, as these blur the count.
        repairs: Repeated requests for each document, if an earlier run has counted them.
    """
    pairs = [(one, one.usage) for one in known if one.usage is not None and not one.pictures]
    pairs = [(one, usage) for one, usage in pairs if usage.prompt_tokens > 0]
    if len(pairs) < _LEAST_ANSWERS:
        return Factors(repairs=repairs)
    constant, words, error = _fitted([(one.constant, one.words, usage.prompt_tokens) for one, usage in pairs])
    ratios = [usage.completion_tokens / max(1.0, one.answer) for one, usage in pairs]
    expected = sum(one.answer for one, _ in pairs)
    answer = sum(usage.completion_tokens for _, usage in pairs) / max(1.0, expected)
    spread = _deviation(ratios) / math.sqrt(len(ratios)) / max(answer, 1e-9)
    off = _LEAST_ANSWER + _STEPS * spread
    cached = [usage.cached_tokens for _, usage in pairs]
    mean = sum(cached) / len(cached)
    return Factors(
        constant,
        words,
        _LEAST_PROMPT + _STEPS * error,
        answer,
        max(0.0, 1 - off),
        1 + off,
        # The first requests find the cache empty, and a short run has as many of these as a long one.
        (mean / 2, max(mean, median(cached)), _MOST_CACHED * max(cached)),
        repairs,
        len(pairs),
        f"the model's own counts for {len(pairs)} of these documents, which the journal has answers for",
    )


def learnt_of_summary(summary: Mapping[str, Any], mean: Expected) -> Factors | None:
    """What the summary of an earlier run teaches, if its documents were like these.

    Args:
        summary: The content of ``summary.json``, of the same model and schema.
        mean: What is expected of a document of this run, on average.

    Returns:
        None if it has too few documents.
    """
    rows, usage = summary.get("extractions") or 0, summary.get("usage") or {}
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    if rows < _LEAST_ANSWERS or not prompt or not mean.requests or summary.get("emulated"):
        return None
    repeated = (summary.get("repairs") or 0) / rows
    factor = prompt / rows / (1 + repeated) / (mean.constant + mean.words + mean.pictures)
    answer = completion / rows / (1 + repeated) / max(1.0, mean.answer)
    cached = (usage.get("cached_tokens") or 0) / rows / (1 + repeated)
    if not 0.5 < factor < 2:  # its documents were of another size, so that they teach nothing about these
        return Factors(repairs=repeated)
    return Factors(
        factor,
        factor,
        _COLD_PROMPT * 0.6,
        answer,
        0.7,
        1.4,
        (cached / 2, cached, max(cached, mean.constant * factor)),
        repeated,
        rows,
        f"the tokens of the {rows} rows of the earlier run in the output, of the same model and schema",
    )


def _fitted(points: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """The factors of the constant and of the words by least squares, with the table as what was believed before.

    Args:
        points: For each document the expected tokens of both, and the counted ones of the prompt.

    Returns:
        Both factors, and the standard error of a mean prompt as a share of it.
    """
    precision = 1 / _BEFORE**2
    a11, a12, a22, b1, b2 = precision, 0.0, precision, precision, precision
    for constant, words, counted in points:
        weight = 1 / (_OF_A_DOCUMENT * max(1.0, words) + 2) ** 2
        a11 += weight * constant * constant
        a12 += weight * constant * words
        a22 += weight * words * words
        b1 += weight * constant * counted
        b2 += weight * words * counted
    determinant = a11 * a22 - a12 * a12
    first, second = (b1 * a22 - b2 * a12) / determinant, (b2 * a11 - b1 * a12) / determinant
    residuals = [counted / (first * constant + second * words) - 1 for constant, words, counted in points]
    return first, second, _deviation(residuals) / math.sqrt(len(residuals))


def _deviation(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1))
