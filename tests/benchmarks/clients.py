"""The programs that are measured, each as a user runs it, each checked for having done the whole job."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import documents, made_files, rivals, service
from .processes import CommandError, Usage, run
from .service import Running

_ROOT = Path(__file__).parents[2]
ENV = {"CLOUDFLARE_ACCOUNT_ID": "0" * 32, "CLOUDFLARE_API_TOKEN": "any", "PYTHONPATH": str(_ROOT)}
COMMAND = Path(sys.executable).parent / "kimi-beam"

Client = Callable[[int, Running], Usage]
"""Puts so many documents through a service."""


class Clients:
    """What is measured.

    Args:
        directory: For documents and results.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.schema = directory / "schema.json"
        self.schema.write_text(json.dumps(documents.SCHEMA))
        self._outputs = 0

    def documents(self, count: int, *, compressible: bool = True) -> Path:
        """The file of so many documents."""
        path = self.directory / f"documents-{count}{'' if compressible else '-incompressible'}.jsonl"
        if not path.exists():
            documents.write_lines(path, count, compressible=compressible)
        return path

    def extract(
        self,
        count: int,
        asked: Running,
        *options: str,
        compressible: bool = True,
        keep: bool = False,
        program: Sequence[object] = (COMMAND,),
        counted: Sequence[int] = (),
    ) -> Usage:
        """`kimi-beam extract`, as a user runs it: journal, validation, provenance, metadata, summary.

        Args:
            count: Documents.
            asked: The service.
            options: Added to the command.
            compressible: What the documents are like.
            keep: Leave the output of the run before, as `--overwrite` does; it is named afterwards by `output`.
            program: What stands in the place of the command.
            counted: Sessions whose processes work for it.
        """
        self._outputs += not keep
        used = run(
            [
                *(*program, "extract", self.documents(count, compressible=compressible)),
                *("--schema", self.schema, "--instructions", documents.INSTRUCTIONS),
                *("--output", self.output, "--base-url", asked.base_url, "--overwrite", *options),
            ],
            self.directory,
            env=ENV,
            counted=counted,
        )
        self._check_dataset(count)
        return used

    def files(self, kind: str, count: int) -> Path:
        """The directory of so many files of a kind (`made_files.WRITERS`); ``text``: the texts of the PDFs."""
        directory = self.directory / f"{kind}-{count}"
        if not directory.exists():
            directory.mkdir()
            if kind == "text":
                made_files.write_texts_of(self.files("pdf", count), directory)
            else:
                made_files.WRITERS[kind](directory, count)
        return directory

    def extract_files(self, kind: str, count: int, asked: Running, *options: str) -> Usage:
        """`kimi-beam extract` of a directory of files, as a user runs it, with the memory of all processes together."""
        self._outputs += 1
        schema = self.directory / "schema-of-files.json"
        schema.write_text(json.dumps(made_files.SCHEMA))
        used = run(
            [
                *(COMMAND, "extract", self.files(kind, count), "--schema", schema),
                *("--output", self.output, "--base-url", asked.base_url, *options),
            ],
            self.directory,
            env=ENV,
            sums_memory=True,
        )
        self._check_dataset(count)
        return used

    @property
    def output(self) -> Path:
        """Where the last dataset is: each has a directory of its own.

        To remove what lay there would be paid by the run: a filesystem takes a while to reuse what was just deleted.
        """
        return self.directory / f"out-{self._outputs}"

    def user_pipeline(self, count: int, asked: Running) -> Usage:
        """A pipeline whose documents a user has made."""
        self._outputs += 1
        words = ("--schema", self.schema, "--instructions", documents.INSTRUCTIONS, "--output", self.output)
        used = self._module("user_pipeline", self.documents(count), "--base-url", asked.base_url, *words)
        self._check_dataset(count)
        return used

    def floor(self, count: int, asked: Running) -> Usage:
        """The same job by hand."""
        output = self.directory / "floor.parquet"
        return _counted(
            self._module("floor", self.documents(count), "--base-url", asked.base_url, "--output", output), count
        )

    def bare_aiohttp(self, count: int, asked: Running) -> Usage:
        """Synchronous requests by an aiohttp loop."""
        return _counted(self._module("bare_aiohttp", self.documents(count), "--base-url", asked.base_url), count)

    def rival(self, name: str, count: int, asked: Running) -> Usage:
        """A rival, in a directory that is new."""
        directory = self.directory / "rivals" / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        words = ("--openai-url", asked.openai_url, "--directory", directory)
        program = (rivals.python(name), rivals.script(name))
        return _counted(run([*program, self.documents(count), *words], directory, within=900), count)

    def statement(self, text: str) -> Usage:
        """A line of Python."""
        return run([sys.executable, "-c", text], self.directory)

    def help(self) -> Usage:
        """`kimi-beam --help`."""
        return run([COMMAND, "--help"], self.directory)

    def _module(self, name: str, *words: object) -> Usage:
        return run([sys.executable, "-m", f"tests.benchmarks.{name}", *words], self.directory, env=ENV)

    def _check_dataset(self, count: int) -> None:
        summary = json.loads((self.output / "summary.json").read_text())
        if summary["documents"] != count or summary["extractions"] != count:
            raise CommandError(f"{summary['extractions']} rows of {summary['documents']} documents, {count} expected")


def _counted(used: Usage, count: int) -> Usage:
    found = json.loads(used.said.splitlines()[-1])["rows"]
    if found != count:
        raise CommandError(f"{found} right rows, {count} expected")
    return used


def with_service(client: Client, count: int, latency: float = 0.0) -> tuple[Usage, dict[str, Any]]:
    """Runs a client against a service of its own; what it used, and what the service counted."""
    with service.running(latency) as asked:
        used = client(count, asked)
        return used, asked.stats()


def best(runs: Sequence[Usage]) -> Usage:
    """The least of each figure: what else the machine did is no figure of theirs."""
    return Usage(
        min(u.cpu for u in runs),
        min(u.wall for u in runs),
        min(u.peak for u in runs),
        runs[-1].said,
        min(u.together for u in runs),
    )


def interleaved(
    clients: Mapping[str, Client], counts: Sequence[int], rounds: int, say: Callable[[str], None], latency: float = 0.0
) -> dict[str, dict[int, Usage]]:
    """The best of some rounds of each client at each number of documents; in each round every one of them runs once."""
    runs: dict[str, dict[int, list[Usage]]] = {name: {count: [] for count in counts} for name in clients}
    for number in range(rounds):
        for count in counts:
            for name, client in clients.items():
                used, _ = with_service(client, count, latency)
                runs[name][count].append(used)
                say(f"{name}, {count:,} documents, round {number + 1}: {used.cpu:.2f} s CPU, {used.wall:.1f} s")
    return {name: {count: best(found) for count, found in by.items()} for name, by in runs.items()}


def marginal(by: Mapping[int, Usage]) -> float:
    """Milliseconds of CPU that each further document costs.

    Raises:
        CommandError: More documents took less: the machine was too busy, or the sizes are too small.
    """
    small, large = min(by), max(by)
    more = by[large].cpu - by[small].cpu
    if more <= 0:
        raise CommandError(f"{large:,} documents took {-more:.2f} s CPU less than {small:,}: there is too much noise")
    return more / (large - small) * 1e3


def prism() -> Path | None:
    """Beam's Prism; None where `make bench` has not brought it."""
    where = os.environ.get("KIMI_BEAM_PRISM")
    return Path(where) if where else None
