"""`kimi-beam doctor`: says of each thing that a run needs whether it is there, and what to do if it is not."""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import re
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from kimi_beam.commands import console
from kimi_beam.commands.check_service_once import OF_SERVICE, TO_DO, Check, check_service_once
from kimi_beam.commands.run_extract import service_of
from kimi_beam.commands.text_tables import text_table
from kimi_beam.errors import InputError, KimiBeamError, OutputError
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import output
from kimi_beam.journal.files import existing
from kimi_beam.output.dataset import JOURNAL, check_output
from kimi_beam.report.summary import FILE_NAME

_VERSION = 1
"""Of the JSON that is printed. It grows when a key gets another meaning or goes; new keys may come."""
_LIBRARIES = ("apache-beam", "pyarrow", "aiohttp", "pydantic")
_BOUND = re.compile(r"(>=|<)\s*([\d.]+)")


def run(args: argparse.Namespace) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 nothing fails, 1 something does.
    """
    checks = list(_checks(args))
    fails = any(check.state == "fail" for check in checks)
    if args.json:
        whole = {"version": _VERSION, "ok": not fails, "checks": [asdict(check) for check in checks]}
        console.put_json(json.dumps(whole, ensure_ascii=False).encode())
        return int(fails)
    found = [f"{check.found}; {check.to_do}" if check.to_do else check.found for check in checks]
    rows = [[check.state, check.name, said] for check, said in zip(checks, found, strict=True)]
    for line in text_table(rows):
        console.put(line)
    return int(fails)


def _checks(args: argparse.Namespace) -> Iterator[Check]:
    yield _versions()
    yield _output(args.output)
    yield _journal(args)
    with contextlib.ExitStack() as stack:
        try:
            service = service_of(args, stack)
        except KimiBeamError as e:
            name = "token" if "token" in str(e) else "account"
            yield Check(name, "fail", str(e), TO_DO[name])
            for other in OF_SERVICE:
                if other != name:
                    yield Check(other, "warn", f"not known: the {name} is to be named first")
            return
        yield from check_service_once(service)


def _versions() -> Check:
    """Whether Python and the libraries are of versions that kimi_beam works with, by what its package says it needs."""
    needed = {}
    for requirement in metadata.requires("kimi-beam") or ():
        name, _, condition = requirement.partition(";")
        plain = re.match(r"[\w.-]+", name)
        if plain and plain[0] in _LIBRARIES and not condition:
            needed[plain[0]] = name
    found = [f"Python {platform.python_version()}"]
    for name in _LIBRARIES:
        version = metadata.version(name)
        found.append(f"{name} {version}")
        for sign, bound in _BOUND.findall(needed.get(name, "")):
            if (_numbers(version) >= _numbers(bound)) is not (sign == ">="):
                return Check("versions", "fail", f"{name} {version}", f"install {name}{sign}{bound}")
    return Check("versions", "ok", ", ".join(found))


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3]]


def _output(directory: str | None) -> Check:
    if directory is None:
        return Check("output", "warn", "none is named", "name one (--output DIR, or output in kimi-beam.toml)")
    try:
        path = output(directory)
        if "://" in path:
            check_output(path, overwrite=True)
        else:
            _check_local(Path(path))
        if FileSystems.exists(FileSystems.join(path, FILE_NAME)):
            return Check("output", "warn", f"{path} holds a finished run", "name another, or say --overwrite")
    except (KimiBeamError, OSError) as e:
        return Check("output", "fail", f"{directory}: {e}", "name a directory that you may write to (--output)")
    return Check("output", "ok", f"{path} can be written")


def _check_local(path: Path) -> None:
    """Writes a file into a directory, or into the nearest one above it that is there, and removes it.

    Raises:
        OutputError: There is a file in its place.
        OSError: It cannot be written.
    """
    place = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not place.is_dir():
        raise OutputError(f"{place} is no directory")
    with tempfile.TemporaryFile(dir=place):
        pass


def _journal(args: argparse.Namespace) -> Check:
    if args.no_journal:
        return Check("journal", "warn", "none is kept", "leave out --no-journal, or a repeated run pays again")
    if args.journal is None and args.output is None:
        return Check("journal", "ok", "will be in the output")
    directory = args.journal or FileSystems.join(output(args.output), JOURNAL)
    try:
        count = len(existing(directory))
    except InputError:
        return Check("journal", "ok", f"{directory}: none yet")
    except (KimiBeamError, OSError) as e:
        return Check("journal", "fail", str(e), "name another (--journal)")
    return Check("journal", "ok", f"{directory}: {count} files, whose answers are not paid for again")
