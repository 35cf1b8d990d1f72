"""``make score``: what the answers for real receipts, e-invoices and contracts are worth, into docs/scores.md.

Without a token the emulator answers, whose rules are the floor that a model has to beat. With CLOUDFLARE_ACCOUNT_ID and
CLOUDFLARE_API_TOKEN in the environment Kimi answers, for money: 1.6 million tokens, some $1.50. The documents are not
part of the project: KIMI_BEAM_SHARED names the directory that holds them in data/documents. Any other option is one of
``kimi-beam extract``, such as --model.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import kimi_beam as kb
from kimi_beam import cli
from kimi_beam.scoring.field_scores import FieldScore
from kimi_beam.service.credentials import ACCOUNT_VARIABLE, TOKEN_VARIABLE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "scores.md"
_HEAD = "| | documents | rows | precision | recall | F1 | exact | mean accuracy | with right nulls |"
_RULE = "|---|--:|--:|--:|--:|--:|--:|--:|--:|"


@dataclass(frozen=True)
class Documents:
    """A set of documents with gold.

    Attributes:
        name: What the table calls it.
        path: Its file, from the directory of the documents; the schema of its gold stands beside it.
        instructions: What the model is told.
    """

    name: str
    path: str
    instructions: str


SETS = (
    Documents(
        "SROIE, receipts",
        "sroie/sroie.jsonl",
        "Extract the company, the date, the address and the total to be paid of this receipt, each as printed; the "
        "date without the time of day, the lines of the address joined by single spaces, the total without currency.",
    ),
    Documents(
        "ZUGFeRD, e-invoices",
        "einvoice/einvoice.jsonl",
        "Extract the fields of this invoice. Dates as YYYY-MM-DD; amounts, quantities and rates as decimals with a "
        "point; type_code by UNTDID 1001 (380 is an invoice), units by UN/ECE Recommendation 20 (C62, HUR, …), "
        "countries by ISO 3166, currencies by ISO 4217. Null what the invoice does not say.",
    ),
    Documents(
        "CUAD, contracts",
        "cuad/cuad.jsonl",
        "Extract the terms of this contract. Texts as they stand there; dates as printed, those that end in _iso as "
        "YYYY-MM-DD, null where the contract names no whole date. A yes/no question is whether the contract has such "
        "a clause: true or false.",
    ),
)


def main(argv: Sequence[str] | None = None, data: Path | None = None) -> int:
    """Asks, scores, and writes the tables.

    Args:
        argv: The options; None for those of the command line.
        data: The directory that holds the documents; None for the one that KIMI_BEAM_SHARED names.
    """
    parser = argparse.ArgumentParser(prog="make score", description=__doc__)
    parser.add_argument("--emulator", action="store_true", help="ask the emulator although there is a token")
    args, more = parser.parse_known_args(argv)
    is_kimi = not args.emulator and ACCOUNT_VARIABLE in os.environ and TOKEN_VARIABLE in os.environ
    data = data or Path(os.environ.get("KIMI_BEAM_SHARED", ROOT.parent / "shared")) / "data"
    documents = data / "documents"
    if not documents.is_dir():
        parser.error(f"the documents are not at {documents}: set KIMI_BEAM_SHARED to the directory that holds data/")
    sys.stderr.write(f"{'Kimi, for money' if is_kimi else 'the emulator'}, over {len(SETS)} sets of documents\n")
    with tempfile.TemporaryDirectory(prefix="kimi_beam-score-") as directory:
        answers = more if is_kimi else ["--emulator", *more]
        scores = [extracted_score(one, documents, Path(directory), answers) for one in SETS]
    tables = "\n".join(_tables(scores))
    who = "kimi" if is_kimi else "rules"
    headline = f"{' '.join(['kimi-beam extract', *more])}, {date.today().isoformat()}.\n\n" if is_kimi else ""
    PAGE.write_text(replaced(PAGE.read_text(), who, headline + tables))
    sys.stdout.write(tables + "\n")
    return 0


def extracted_score(one: Documents, documents: Path, directory: Path, options: Sequence[str]) -> kb.Evaluation:
    """Extracts a set of documents by the command line, and scores the output.

    Args:
        one: The set.
        documents: The directory of all sets.
        directory: Where the output goes.
        options: Further options of ``kimi-beam extract``.

    Raises:
        RuntimeError: The command failed; what it said stands on stderr.
    """
    path = documents / one.path
    schema, output = path.with_name("gold.schema.json"), directory / path.stem
    words = ["extract", path, "--schema", schema, "--output", output, "--instructions", one.instructions]
    code = cli.main([*map(str, words), *options])
    if code:
        raise RuntimeError(f"kimi-beam extract ended with {code}")
    return kb.evaluate(output, path)


def _tables(scores: Sequence[kb.Evaluation]) -> Iterator[str]:
    yield from (_HEAD, _RULE)
    for one, found in zip(SETS, scores, strict=True):
        yield overall_row(one, found)
    for one, found in zip(SETS, scores, strict=True):
        yield from (
            "",
            f"{one.name}:",
            "",
            "| field | gold | precision | recall | F1 | exact |",
            "|---|--:|--:|--:|--:|--:|",
        )
        empty = [name for name, score in found.fields.items() if score.support and not score.right]
        for name, score in found.fields.items():
            if name not in empty:
                shares = (score.precision, score.recall, score.f1, score.exact / found.documents)
                yield f"| `{name}` | {score.support} | {' | '.join(map(_percent, shares))} |"
        if empty:
            yield from ("", f"Not one value is right in {len(empty)} more: {', '.join(f'`{name}`' for name in empty)}.")


def overall_row(one: Documents, found: kb.Evaluation) -> str:
    """The line of a set in the first table."""
    score: FieldScore = found.overall
    shares = (score.precision, score.recall, score.f1, score.exact / found.documents, *found.mean_accuracy)
    return f"| {one.name} | {found.documents} | {found.outcomes.get('row', 0)} | {' | '.join(map(_percent, shares))} |"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def replaced(page: str, who: str, text: str) -> str:
    """The page with another text between the marks of ``rules`` or ``kimi``."""
    begin, end = f"<!-- {who} -->\n", f"<!-- end of {who} -->\n"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{text}\n\n{end}{after}"


if __name__ == "__main__":
    sys.exit(main())
