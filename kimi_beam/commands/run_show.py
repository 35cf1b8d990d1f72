"""`kimi-beam show`: what a run came to, for the eye; of one that is still going on, what its journal says."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kimi_beam.commands import console
from kimi_beam.commands.beam_options import directory_among
from kimi_beam.commands.letter_advice import ADVICE, OF_OTHERS
from kimi_beam.commands.plain_values import plain
from kimi_beam.errors import ConfigError, InputError, KimiBeamError
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import normal
from kimi_beam.journal.files import contents
from kimi_beam.output.dataset import JOURNAL, files_of
from kimi_beam.output.parquet import first_rows
from kimi_beam.output.written_answers import WrittenRun
from kimi_beam.report.summary import FILE_NAME
from kimi_beam.schema import jsontext

_VERSION = 1
"""Of the JSON that is printed. It grows when a key gets another meaning or goes; new keys may come."""


@dataclass
class _Letters:
    """The dead letters of one code."""

    id: str
    message: str
    documents: int = 0
    retryable: int = 0


@dataclass
class _Page:
    """The dead letters that are printed, and how many there are of them all."""

    letters: list[dict[str, Any]] = field(default_factory=list)
    total: int = 0


def run(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs the command.

    Args:
        args: The command's own arguments.
        rest: The output and Beam's options, in the order of the command line.

    Returns:
        The exit code: 0 shown, 1 it cannot be, 2 a mistake of the user's.
    """
    try:
        directory = normal(directory_among(rest, "show"))
        if not FileSystems.exists(FileSystems.join(directory, FILE_NAME)):
            _show_unfinished(directory, args)
            return 0
        written = WrittenRun.at(directory)
        if args.dead_letters:
            _show_letters(_page(written, args), args)
        else:
            _show_run(written, directory, args)
    except BrokenPipeError:
        raise  # the reader of the pipe has seen enough
    except (KimiBeamError, OSError) as e:
        return console.fail(e)
    return 0


def _show_run(written: WrittenRun, directory: str, args: argparse.Namespace) -> None:
    summary, by_code = written.summary(), _by_code(written, args.code)
    rows = first_rows(files_of(directory, "extractions"), args.rows) if args.rows else []
    if args.json:
        reasons = [
            {"code": code, "documents": of.documents, "retryable": of.retryable, "id": of.id, "message": of.message,
             "advice": _advice(code)}
            for code, of in by_code.items()
        ]  # fmt: skip
        whole = {"version": _VERSION, "finished": True, "summary": summary, "rows": rows, "dead_letters": reasons}
        console.put_json(jsontext.dumps_any(plain(whole)))
        return
    console.print_summary(summary, files_of(directory, "summary"))
    if rows:
        console.print_rows(rows)
    for line in _reasons(by_code, directory):
        console.put(line)


def _show_letters(page: _Page, args: argparse.Namespace) -> None:
    if args.json:
        whole = {"version": _VERSION, "total": page.total, "offset": args.offset, "dead_letters": page.letters}
        console.put_json(jsontext.dumps_any(whole))
        return
    for letter in page.letters:
        again = "retryable" if letter["retryable"] else "final"
        console.put_words(letter["document_id"], letter["code"], again, letter["message"])
    after = args.offset + len(page.letters)
    if after < page.total:
        console.say(f"{len(page.letters)} of {page.total} dead letters; the next: --offset {after}")


def _show_unfinished(directory: str, args: argparse.Namespace) -> None:
    """Shows a run without a summary: it is still going on, or has broken off.

    Raises:
        ConfigError: Its dead letters are asked for, which are written at its end.
        InputError: There is no journal either.
    """
    try:
        found = contents(FileSystems.join(directory, JOURNAL))
    except InputError:
        raise InputError(
            f"{directory} is no output of a run: it has neither {FILE_NAME} nor a journal; name the directory of "
            "--output"
        ) from None
    if args.dead_letters:
        raise ConfigError(f"the run in {directory} has not ended, and dead letters are written at its end")
    if args.json:
        journal = {name.strip().replace(" ", "_"): value for name, value in found.items()}
        console.put_json(jsontext.dumps_any({"version": _VERSION, "finished": False, "journal": journal}))
        return
    console.put("the run has not ended: it is still going on, or has broken off (the same command goes on)")
    for name, value in found.items():
        console.put(f"{name:<20}{value}")


def _by_code(written: WrittenRun, codes: Sequence[str]) -> dict[str, _Letters]:
    found: dict[str, _Letters] = {}
    for letter in written.letters():
        code = letter["code"]
        if not codes or code in codes:
            of_code = found.setdefault(code, _Letters(letter["document_id"], letter["message"]))
            of_code.documents += 1
            of_code.retryable += bool(letter["retryable"])
    return dict(sorted(found.items(), key=lambda pair: (-pair[1].documents, pair[0])))


def _reasons(by_code: Mapping[str, _Letters], directory: str) -> Iterator[str]:
    for code, of_code in by_code.items():
        yield ""
        yield f"{code}: {of_code.documents} dead letters, {of_code.retryable} of them retryable"
        yield f"  {of_code.id}: {_cut(of_code.message)}"
        yield f"  what to do: {_advice(code)}"
    if any(of_code.retryable for of_code in by_code.values()):
        yield ""
        yield f"the retryable ones again: kimi-beam redrive {directory} --output {directory}-redriven"


def _advice(code: str) -> str:
    return ADVICE.get(code, OF_OTHERS)


def _cut(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= 300 else f"{text[:299]}…"


def _page(written: WrittenRun, args: argparse.Namespace) -> _Page:
    page = _Page()
    chosen = (letter for letter in written.letters() if not args.code or letter["code"] in args.code)
    for number, letter in zip(itertools.count(), chosen):
        page.total = number + 1
        if args.offset <= number < args.offset + args.limit:
            names = ("document_id", "code", "stage", "retryable", "message", "source", "attempts", "model")
            page.letters.append({name: letter[name] for name in names})
    return page
