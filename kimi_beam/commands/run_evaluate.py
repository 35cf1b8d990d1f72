"""`kimi-beam evaluate`: scores an output against gold, and prints the score."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from kimi_beam.commands import console, search_path
from kimi_beam.commands.beam_options import take_options
from kimi_beam.commands.output_lines import output_lines
from kimi_beam.commands.text_tables import text_table
from kimi_beam.errors import ConfigError, KimiBeamError
from kimi_beam.output.calibrate import calibrate, encode_calibration
from kimi_beam.output.evaluate import each_document, evaluate
from kimi_beam.schema import jsontext
from kimi_beam.scoring.answer_differences import wrong_values
from kimi_beam.scoring.compared_places import Place
from kimi_beam.scoring.document_scores import ROW, AnswerAndGold
from kimi_beam.scoring.evaluation import Comparison, Evaluation
from kimi_beam.scoring.field_scores import FieldScore
from kimi_beam.scoring.intervals import Difference, wilson
from kimi_beam.scoring.leaf_verdicts import ERRORS

_HEAD = ("field", "precision", "recall", "F1", "exact", "gold", *(name.replace("_", " ") for name in ERRORS), "nulls")
_SHOWN = 10


def run(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs the command.

    Args:
        args: The command's own arguments.
        rest: The output, the gold and Beam's options, in the order of the command line.

    Returns:
        The exit code: 0 done, 1 it cannot be done, 2 a mistake of the user's.
    """
    try:
        with search_path.for_references(*filter(None, [args.schema])):
            inputs, _ = take_options(rest, "evaluate")
            if len(inputs) < 2:
                raise ConfigError("name an OUTPUT and a GOLD.jsonl (kimi-beam evaluate --help)")
            *outputs, gold = inputs
            read = {"gold_field": args.gold_field, "id_field": args.id_field, "schema": args.schema}
            found = evaluate(outputs, gold, **read, by=args.by, compare=args.compare, seed=args.seed)
            wrong = _wrong_values(*each_document(outputs, gold, **read)) if args.wrong else iter(())
            if args.calibrate is not None:
                _calibrate(outputs, gold, args.calibrate, read)
            if args.json:
                more = {"wrong": list(wrong)} if args.wrong else {}
                whole = {"version": console.JSON_VERSION, **found.to_json(), **more}
                console.put_json(jsontext.dumps_any(whole))
                return 0
            for one in wrong:
                console.put_words(one["id"], one["pointer"], one["error"], *map(_shown, (one["gold"], one["answer"])))
    except BrokenPipeError:
        raise  # the reader of the pipe has seen enough
    except (KimiBeamError, OSError) as e:
        return console.fail(e)
    for line in _lines(found):
        console.put(line)
    return 0


def _calibrate(outputs: Sequence[str], gold: str, path: str, read: Mapping[str, Any]) -> None:
    """Writes the probabilities of the review queue, and says how good they are."""
    found = calibrate(outputs, gold, **read)
    with output_lines(path) as write:
        write(encode_calibration(found.calibration))
    error = found.held_out_error
    told = "too few documents to say how good it is" if error is None else f"on held-out documents off by {error:.3f}"
    console.say(f"calibrated by {found.values} values of {found.documents} documents: {told}")


def _wrong_values(root: Place, documents: Iterator[AnswerAndGold]) -> Iterator[dict[str, Any]]:
    """Each error of the documents that became rows; of another document its outcome, in the place of an error."""
    for document in documents:
        if document.outcome != ROW:
            nothing = {"pointer": "", "field": "", "gold": None, "answer": None}
            yield {"id": document.document_id, "error": document.outcome, **nothing}
            continue
        for one in wrong_values(document.gold, document.answer, root):
            yield {"id": document.document_id, **one._asdict()}


def _shown(value: Any) -> str:
    return "" if value is None else jsontext.dumps_any(value).decode()


def _lines(found: Evaluation) -> Iterator[str]:
    yield from _documents(found)
    yield ""
    yield from _fields(found)
    yield ""
    yield from _intervals(found.overall)
    if found.worst:
        yield ""
        yield "worst documents"
        yield from text_table(
            [(one.document_id, one.outcome, _percent(one.f1), _errors(one.score)) for one in found.worst], indent=2
        )
    yield from _confused(found)
    for name, one in found.groups.items():
        yield ""
        yield f"slice {name or '(without a value)'}: {one.documents} documents"
        yield from _fields(one)
    if found.comparison is not None:
        yield ""
        yield from _comparison(found, found.comparison)


def _documents(found: Evaluation) -> Iterator[str]:
    failed = {name: count for name, count in found.outcomes.items() if name != ROW}
    beside = "".join(f", {count} {name}" for name, count in failed.items())
    yield f"{found.documents} documents with gold: {found.outcomes.get(ROW, 0)} rows{beside}"
    if failed:
        yield "A document without a row counts as one without any value."
    if found.without_gold:
        names = ", ".join(found.without_gold[:_SHOWN])
        more = ", …" if len(found.without_gold) > _SHOWN else ""
        yield f"Without gold, and not scored: {len(found.without_gold)} ({names}{more})"
    if found.nearly_paired:
        yield f"Lists with so many wrong items that another pairing might score higher: {found.nearly_paired}"


def _fields(found: Evaluation) -> Iterator[str]:
    rows = [(name, *_cells(one)) for name, one in found.fields.items()]
    yield from text_table([_HEAD, *rows, ("overall", *_cells(found.overall))], right_from=1)


def _cells(one: FieldScore) -> tuple[str, ...]:
    shares = (one.precision, one.recall, one.f1, one.exact / one.documents if one.documents else None)
    nulls = f"{one.right_nulls}/{one.gold_nulls}"
    return (*map(_percent, shares), str(one.support), *(str(one.errors[name]) for name in ERRORS), nulls)


def _intervals(one: FieldScore) -> Iterator[str]:
    shares = {
        "precision": wilson(one.right, one.predicted),
        "recall": wilson(one.right, one.support),
        "exact documents": wilson(one.exact, one.documents),
    }
    found = (f"{name} {_percent(ends[0])} to {_percent(ends[1])}" for name, ends in shares.items() if ends)
    yield f"95 % (Wilson): {', '.join(found)}"
    yield (
        f"nulls: accuracy {_percent(one.accuracy)} where they have no place (omni-extract-bench), "
        f"{_percent(one.accuracy_with_nulls)} where right ones count (ExtractBench); "
        f"{one.right_nulls} of {one.gold_nulls} nulls are right"
    )


def _confused(found: Evaluation) -> Iterator[str]:
    if found.confusions:
        yield ""
        yield "taken for another value (gold, answer)"
        confusions = islice(found.confusions.items(), _SHOWN)
        yield from text_table([(str(count), *names) for names, count in confusions], indent=2)
    if found.swaps:
        yield ""
        yield "has the value of another field (answer's field, gold's field)"
        swaps = islice(found.swaps.items(), _SHOWN)
        yield from text_table([(str(count), *names) for names, count in swaps], indent=2)


def _comparison(found: Evaluation, comparison: Comparison) -> Iterator[str]:
    yield (
        f"the second output against the first, F1 with 95 % of the paired bootstrap "
        f"(seed {comparison.seed}, {comparison.resamples} resamples)"
    )
    head = ("field", "first", "second", "difference", "from", "to", "p")
    firsts: Mapping[str, FieldScore] = found.fields
    seconds = comparison.second.fields
    rows = [(name, *_both(firsts.get(name), seconds.get(name), one)) for name, one in comparison.fields.items()]
    overall = ("overall", *_both(found.overall, comparison.second.overall, comparison.overall))
    yield from text_table([head, *rows, overall], right_from=1)


def _both(first: FieldScore | None, second: FieldScore | None, one: Difference) -> tuple[str, ...]:
    f1 = (_percent(score.f1 if score else None) for score in (first, second))
    return (*f1, *(f"{100 * value:+.1f}" for value in (one.difference, one.low, one.high)), f"{one.p_value:.3f}")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _errors(one: FieldScore) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in one.errors.items() if count)
