"""`kimi-beam diff`: compares the answers of two runs, document by document and field by field."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from kimi_beam.commands import console, search_path
from kimi_beam.commands.beam_options import take_options
from kimi_beam.commands.text_tables import text_table
from kimi_beam.errors import ConfigError, KimiBeamError
from kimi_beam.output.compare_runs import DocumentDifference, RunDifferences, compare_runs
from kimi_beam.output.written_answers import WrittenRun
from kimi_beam.schema import jsontext
from kimi_beam.scoring.answer_differences import CHANGES

_TROUBLE = 2


def run(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs the command.

    Args:
        args: The command's own arguments.
        rest: The two outputs and Beam's options, in the order of the command line.

    Returns:
        The exit code, as that of Unix's diff: 0 the answers are the same, 1 they differ, 2 trouble.
    """
    try:
        with search_path.for_references(*filter(None, [args.schema])):
            inputs, _ = take_options(rest, "diff")
            if len(inputs) != 2:
                raise ConfigError("name two outputs (kimi-beam diff --help)")
            first, second = (WrittenRun.at(directory, args.schema) for directory in inputs)
            if first.schema.hash != second.schema.hash:
                console.say("the outputs have two schemas: values count as the same by that of the first")
            sums = RunDifferences()
            for one in compare_runs(first, second, sums):
                if not args.brief:
                    _print_document(one, as_json=args.json)
    except BrokenPipeError:
        raise  # the reader of the pipe has seen enough
    except (KimiBeamError, OSError) as e:
        console.fail(e)
        return _TROUBLE
    if args.json:
        console.put_json(jsontext.dumps_any({"version": console.JSON_VERSION, **_json_sums(sums)}))
    else:
        for line in _table(sums):
            console.put(line)
    return 0 if sums.same == sums.documents else 1


def _print_document(one: DocumentDifference, *, as_json: bool) -> None:
    if as_json:
        values = [value._asdict() for value in one.values]
        console.put_json(
            jsontext.dumps_any({"id": one.document_id, "first": one.first, "second": one.second, "values": values})
        )
        return
    if one.first != one.second:
        console.put_words(one.document_id, one.first, one.second)
    for value in one.values:
        console.put_words(one.document_id, value.pointer, value.change, *map(_shown, (value.first, value.second)))


def _shown(value: Any) -> str:
    return "" if value is None else jsontext.dumps_any(value).decode()


def _json_sums(sums: RunDifferences) -> dict[str, Any]:
    found = asdict(sums)
    found["outcomes"] = [{"first": a, "second": b, "documents": n} for (a, b), n in sorted(sums.outcomes.items())]
    found["fields"] = {name: {change: counts[change] for change in CHANGES} for name, counts in sums.fields.items()}
    return found


def _table(sums: RunDifferences) -> Iterator[str]:
    differ = sums.documents - sums.same
    yield f"{sums.documents} documents: {sums.same} the same, {differ} differ"
    for (first, second), count in sorted(sums.outcomes.items()):
        yield f"  {count}: {first} in the first, {second} in the second"
    if sums.fields:
        rows = [(name, *(str(counts[change]) for change in CHANGES)) for name, counts in sums.fields.items()]
        yield from text_table([("field", *CHANGES), *rows], right_from=1)
