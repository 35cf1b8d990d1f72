"""The commands of a ``sh`` block, and whether our own know the options that they are given."""

from __future__ import annotations

import re
import shlex
from functools import cache

from apache_beam.options.pipeline_options import PipelineOptions
from conftest import ROOT
from docs_extensions import help_of, help_of_program, kimi_beam_commands

PROGRAMS = ("extract", "redrive", "stream")
"""Those of ``pipelines/``."""
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9_-]*")


def command_lines(text: str) -> list[str]:
    """The commands, a line each: continued lines are joined, comments and empty lines dropped, ``$ `` taken off."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = (re.sub(r"(^|\s)# .*$", "", line).strip().removeprefix("$ ") for line in joined.splitlines())
    return [line for line in lines if line]


def words(line: str) -> list[str]:
    """A command's words, without a path before its program."""
    first, *rest = shlex.split(line)
    return [first.rpartition("/")[2] if first.endswith(("/kimi-beam", "/python")) else first, *rest]


@cache
def _help_of(command: str) -> str:
    known: dict[str, str] = {parser.prog: help_of(parser) for parser in kimi_beam_commands()}
    if command.startswith("pipelines/"):
        name = command.removeprefix("pipelines/").removesuffix(".py")
        known |= {command: help_of_program(name)} if name in PROGRAMS else {}
    return known[command]


@cache
def options_of(command: str) -> frozenset[str]:
    """The options that a command of ours names in its ``--help``.

    Args:
        command: As ``kimi-beam extract`` or ``pipelines/extract.py``.

    Raises:
        KeyError: There is no such command.
    """
    return frozenset(_OPTION.findall(_help_of(command)))


@cache
def beams_options() -> frozenset[str]:
    """The options of all of Beam's runners that this process knows."""
    from apache_beam.options import pipeline_options as module

    names: set[str] = set()
    for kind in vars(module).values():
        if isinstance(kind, type) and issubclass(kind, PipelineOptions) and "_add_argparse_args" in vars(kind):
            parser = _Collecting()
            vars(kind)["_add_argparse_args"].__func__(kind, parser)
            names |= parser.names
    # Those of the Flink runner are the job server's, which tells them when it is asked for a job.
    return (
        frozenset(names)
        | {"--parallelism", "--checkpointing_interval", "--finish_bundle_before_checkpointing"}
        | {
            "--shutdown_sources_after_idle_ms",
            "--savepoint_path",
        }
    )


class _Collecting:
    def __init__(self) -> None:
        self.names: set[str] = set()

    def add_argument(self, *names: str, **_: object) -> None:
        self.names.update(names)

    add_value_provider_argument = add_argument

    def add_mutually_exclusive_group(self, **_: object) -> _Collecting:
        return self

    def add_argument_group(self, *_: object, **__: object) -> _Collecting:
        return self


def ours(line: str) -> str | None:
    """Which command of ours a line runs, as ``kimi-beam extract``, ``pipelines/extract.py`` or ``make``; None: none."""
    first, *rest = words(line)
    if first == "kimi-beam":
        nested = {parser.prog for parser in kimi_beam_commands()}
        longest = " ".join(["kimi-beam", *rest[:2]])
        return longest if longest in nested else " ".join(["kimi-beam", *rest[:1]])
    if first == "python" and rest and rest[0].startswith("pipelines/"):
        return rest[0]
    return "make" if first == "make" else None


def unknown_options(line: str) -> list[str]:
    """The options of a line of ours that neither its command nor Beam knows, and targets that the Makefile lacks."""
    command = ours(line)
    if command is None:
        return []
    if command == "make":
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        return [word for word in words(line)[1:] if "=" not in word and word not in targets]
    takes_beams = "[Beam options]" in _help_of(command) or command.startswith("pipelines/")
    known = options_of(command) | (beams_options() if takes_beams else frozenset())
    named = [word.partition("=")[0] for word in words(line) if word.startswith("--")]
    return [name for name in named if name not in known]


def all_options() -> frozenset[str]:
    """The options of all commands of ours and of Beam."""
    commands = [*(parser.prog for parser in kimi_beam_commands()), *(f"pipelines/{name}.py" for name in PROGRAMS)]
    return frozenset().union(beams_options(), *map(options_of, commands))
