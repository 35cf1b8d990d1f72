"""Runs the blocks of one page in a directory of its own, with the emulator in the place of the service.

In the directory of a page lie ``pipelines`` and ``schemas`` of the repository, ``in/`` with a receipt, two invoices and
an empty text, ``invoices.jsonl`` with two lines, and whatever its ``hidden`` and ``file`` comments write. Its Python
blocks share their names.

The service: ``kb.WorkersAI.from_env(`` and the commands that ask Cloudflare are led to an emulator of the page, as if
``--base-url`` had been given; so is ``http://localhost:11434/v1`` to its OpenAI-compatible side. ``QUEUE_ID`` is a
queue of events there. All runs in this process, so that Beam is imported once for all pages; only ``kimi-beam
emulate`` and pipes are processes of their own. After each run of ``extract`` and ``redrive`` the documents have to be
as many as the rows and dead letters.
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import orjson
import pyarrow.parquet as pq
from command_lines import command_lines, ours, unknown_options, words
from conftest import ROOT
from fenced_blocks import Block

from kimi_beam import cli
from kimi_beam.emulator import Behaviour, Emulator

OLLAMA = "http://localhost:11434/v1"
HARMLESS = {"ls", "cat", "head", "tail", "wc", "echo", "mkdir", "cp", "mv", "gzip", "tar", "zstd"}
"""Programs of the system that a page may run as they are."""
SAMPLES = ("receipt-01.txt", "invoice-01.txt", "invoice-03.txt", "impossible-empty.txt")


class PageError(AssertionError):
    """A block does not do what its page says."""


@dataclass
class PageRunner:
    """One page's directory, names and emulator.

    Attributes:
        directory: Where the blocks run; made ready by `prepare`.
        emulator: The service.
        names: What the Python blocks have named.
        printed: What the last command wrote to stdout.
        servers: Processes that the page has started; `stop` ends them.
    """

    directory: Path
    emulator: Emulator
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})
    printed: str = ""
    servers: list[subprocess.Popen[str]] = field(default_factory=list)

    def prepare(self) -> None:
        """Puts the files in place that the pages speak of."""
        for name in ("pipelines", "schemas", "setup.py"):
            (self.directory / name).symlink_to(ROOT / name)
        (self.directory / "in").mkdir()
        for name in SAMPLES:
            shutil.copy(ROOT / "pipelines" / "samples" / name, self.directory / "in" / name)
        lines = [
            {"id": name, "text": (ROOT / "pipelines" / "samples" / name).read_text(), "customer": "ACME"}
            for name in ("invoice-01.txt", "invoice-03.txt")
        ]
        (self.directory / "invoices.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def stop(self) -> None:
        """Ends the processes that the page has started."""
        for server in self.servers:
            server.terminate()
            server.wait(timeout=10)

    def run(self, block: Block) -> None:
        """Runs a block, or checks it, as the comments above it say.

        Raises:
            PageError: It fails, its output is another, or nothing says how to run it.
        """
        try:
            self._run(block)
        except PageError as e:
            raise PageError(f"{block.place}: {e}") from None

    def _run(self, block: Block) -> None:
        if block.language == "hidden":
            exec(compile("\n" * block.line + block.text, str(block.page), "exec"), {})
        elif (reason := block.says("not run")) is not None:
            _check(len(reason) > 10, "the comment does not say why the block is not run")
            self._check_options(block)
        elif block.says("output") is not None:
            _check(_matches(block.text, self.printed), f"the output is another:\n{self.printed}")
        elif (pattern := block.says("row of")) is not None:
            self._check_json(block, "_document_id", self._rows(pattern))
        elif (pattern := block.says("line of")) is not None:
            self._check_json(block, "document_id", self._lines(pattern))
        elif (name := block.says("file")) is not None:
            (self.directory / name).write_text(block.text)
        elif block.language == "python":
            self._run_python(block)
        elif block.language in ("sh", "console"):
            self._check_options(block)
            self._run_commands(block)
        else:
            raise PageError(f"nothing says how to run a block of {block.language or 'no language'!r}")

    def _check_options(self, block: Block) -> None:
        if block.language not in ("sh", "console"):
            return
        for line in command_lines(block.text):
            unknown = unknown_options(line)
            _check(not unknown, f"{line!r} names what is not there: {', '.join(unknown)}")

    def _run_python(self, block: Block) -> None:
        code = block.text.replace("from_env(", f"from_env(base_url={self.emulator.base_url!r}, ")
        # Beam would read this process's own arguments.
        code = code.replace("beam.Pipeline()", 'beam.Pipeline("FnApiRunner", argv=[])')
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * block.line + code, str(block.page), "exec"), self.names)
        self.printed = printed.getvalue()

    def _run_commands(self, block: Block) -> None:
        lines = command_lines(block.text)
        for line in lines:
            expected = int(block.says("exit code") or 0) if line is lines[-1] else 0
            code = self._run_line(line)
            _check(code == expected, f"{line!r} ended with {code}, not {expected}:\n{self.printed}")

    def _run_line(self, line: str) -> int:
        line = line.replace(OLLAMA, self.emulator.openai_url)
        if re.search(r"[|;&<>]", re.sub(r"'[^']*'", "", line)):
            return self._run_shell(line)
        first, *rest = words(line)
        command = ours(line)
        if first == "export":
            # An account id, or a token, that the page leaves out.
            values = dict(word.partition("=")[::2] for word in rest)
            os.environ.update({name: "0" * 32 if "…" in value else value for name, value in values.items()})
            return 0
        if command == "make":
            return self._run_demo() if rest == ["demo"] else 0  # the Makefile has the targets: `unknown_options`
        if command == "kimi-beam emulate":
            return self._start(rest)
        if command is not None and first == "kimi-beam":
            code = self._call(cli.main, [*rest, *self._service(command, rest)])
            if code == 0 and "--dry-run" in rest and command in ("kimi-beam extract", "kimi-beam redrive"):
                _check(self.printed.endswith("nothing was sent\n"), self.printed)
            elif code == 0 and "--output" in rest and command in ("kimi-beam extract", "kimi-beam redrive"):
                self._check_conserved(self.directory / rest[rest.index("--output") + 1])
            return code
        if command is not None:
            program = import_module(command.removesuffix(".py").replace("/", "."))
            return self._call(program.main, [*rest[1:], "--base-url", self.emulator.base_url])
        if first == "pip" and rest[:1] == ["install"]:
            return self._check_extras(rest[1:])
        _check(first in HARMLESS, f"{line!r} is not known here: run it by hand, and say why above the block")
        return self._run_shell(line)

    def _service(self, command: str, rest: list[str]) -> list[str]:
        asks = command in ("kimi-beam extract", "kimi-beam redrive")
        named = {"--emulator", "--base-url", "--openai-url"} & {word.partition("=")[0] for word in rest}
        return ["--base-url", self.emulator.base_url] if asks and not named and "--help" not in rest else []

    def _call(self, main: Any, arguments: list[str]) -> int:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()) as complaints:
            try:
                code = main(arguments) or 0
            except SystemExit as e:
                code = e.code or 0
        self.printed = printed.getvalue()
        _check(isinstance(code, int), str(code))
        if code:
            self.printed += complaints.getvalue()
        return int(code)

    @staticmethod
    def _check_conserved(output: Path) -> None:
        """Each document is a row or a dead letter."""
        rows = sum(pq.read_metadata(path).num_rows for path in output.glob("extractions-*.parquet"))
        letters = sum(len(path.read_text().splitlines()) for path in output.glob("dead-letters-*.jsonl"))
        documents = json.loads((output / "summary.json").read_text())["documents"]
        _check(0 < documents == rows + letters, f"{documents} documents, {rows} rows, {letters} dead letters")

    def _run_demo(self) -> int:
        """What ``make demo`` runs when everything is set up."""
        recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert recipe
        (line,) = command_lines(recipe[1])
        return self._call(cli.main, words(line.replace("$(BIN)/", ""))[1:])

    def _run_shell(self, line: str) -> int:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-c", line], env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120
        )
        self.printed = done.stdout + (done.stderr if done.returncode else "")
        return done.returncode

    def _start(self, arguments: list[str]) -> int:
        """Starts the emulator as the page does, but on a free port."""
        arguments = [*arguments, "--port", "0"]
        command = [sys.executable, "-m", "kimi_beam", *arguments]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.servers.append(server)
        assert server.stdout
        _check("http://127.0.0.1:" in server.stdout.readline(), "the emulator does not say where it is")
        server.stdout.close()
        return 0

    def _check_extras(self, arguments: list[str]) -> int:
        setup = (ROOT / "setup.py").read_text()
        for extra in re.findall(r"\[([\w,-]+)\]", " ".join(arguments)):
            for name in extra.split(","):
                _check(f'\n        "{name}": ' in setup, f"setup.py has no extra {name}")
        return 0

    def _rows(self, pattern: str) -> Iterator[dict[str, Any]]:
        for path in sorted(self.directory.glob(pattern)):
            yield from pq.read_table(path).to_pylist()

    def _lines(self, pattern: str) -> Iterator[dict[str, Any]]:
        for path in sorted(self.directory.glob(pattern)):
            yield from map(json.loads, path.read_text().splitlines())

    def _check_json(self, block: Block, key: str, found: Iterator[dict[str, Any]]) -> None:
        shown = json.loads(block.text)
        same = [each for each in found if each[key] == shown[key]]
        _check(len(same) == 1, f"{len(same)} records have the id {shown[key]!r}")
        # Dates and times as the page's JSON has them.
        real = json.loads(orjson.dumps(same[0], option=orjson.OPT_PASSTHROUGH_SUBCLASS))
        _check(_alike(shown, real), f"the record is another: {json.dumps(real, ensure_ascii=False)}")


@contextlib.contextmanager
def page_runner(directory: Path) -> Iterator[PageRunner]:
    """A runner whose directory is the working directory, and whose emulator runs, for as long as the context lasts."""
    behaviour = Behaviour(event_queues=("QUEUE_ID",))
    before = Path.cwd()
    with mock.patch.dict(os.environ), Emulator(behaviour=behaviour) as emulator:
        runner = PageRunner(directory, emulator)
        runner.prepare()
        os.chdir(directory)
        try:
            yield runner
        finally:
            runner.stop()
            os.chdir(before)


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise PageError(message)


def _matches(shown: str, printed: str) -> bool:
    """Whether the lines shown stand one after another in what was printed, ``…`` standing for anything."""
    pattern = "".join(".*?" if piece == "…" else re.escape(piece) for piece in re.split("(…)", shown.strip("\n")))
    lines = "\n".join(line.rstrip() for line in printed.splitlines())
    return re.search(rf"(?:^|\n){pattern}(?:\n|$)", lines, re.DOTALL) is not None


def _alike(shown: Any, real: Any) -> bool:
    """Whether JSON is what a page shows; a text that ends in ``…`` is the beginning of the real one."""
    if isinstance(shown, dict) and isinstance(real, dict):
        return shown.keys() == real.keys() and all(_alike(shown[key], real[key]) for key in shown)
    if isinstance(shown, list) and isinstance(real, list):
        return len(shown) == len(real) and all(map(_alike, shown, real))
    if isinstance(shown, str) and isinstance(real, str) and shown.endswith("…"):
        return fnmatch.fnmatchcase(real, re.sub(r"([\[*?])", r"[\1]", shown[:-1]) + "*")
    return bool(shown == real)
