"""`kimi-beam read`: prints what the model would see of each document, one JSON line each, and asks nobody."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from kimi_beam.commands import console, search_path
from kimi_beam.commands.beam_options import take_options
from kimi_beam.commands.checked_inputs import checked_inputs
from kimi_beam.commands.output_lines import output_lines
from kimi_beam.commands.own_reader import reader_of
from kimi_beam.commands.reading_options import reading_of
from kimi_beam.commands.stdin import STDIN, from_stdin
from kimi_beam.errors import KimiBeamError
from kimi_beam.input.fields import Reading
from kimi_beam.input.file_parts import find_parts
from kimi_beam.input.read_parts import read_part
from kimi_beam.request.checks import unsendable
from kimi_beam.schema import jsontext
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.types.document import Document

_REPORT_EVERY = 5.0
"""Seconds between two lines of progress."""


def run(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs the command.

    Args:
        args: The command's own arguments.
        rest: The inputs and Beam's options, in the order of the command line.

    Returns:
        The exit code.
    """
    counts: Counter[str] = Counter()
    try:
        with contextlib.ExitStack() as stack:
            named, _ = take_options(rest, "read")
            stack.enter_context(search_path.for_references(*filter(None, (args.reader,))))
            reading = replace(reading_of(args), reader=reader_of(args.reader, WorkersAI.from_env))
            inputs = checked_inputs([from_stdin(stack) if name == STDIN else name for name in named], reading)
            reading.options()  # a password that cannot be read is the user's mistake
            write = stack.enter_context(output_lines(args.output))
            for document in _reported(islice(_documents(inputs, reading), args.limit), counts):
                write(line_of(document, with_images=args.images))
    except BrokenPipeError:
        raise  # the reader of the pipe has seen enough
    except (KimiBeamError, OSError) as e:
        return console.fail(e)
    console.say(_summary(counts))
    return 0


def line_of(document: Document, *, with_images: bool = False) -> bytes:
    """What the model would see of a document, and what it would not, as a line of JSON.

    Args:
        document: The document as it was read.
        with_images: Whether the images stand in it as data URIs. If not, their types and sizes do.
    """
    metadata = dict(document.metadata)
    hidden = metadata.pop("hidden_text", [])
    positions = document.layout.image_positions if document.layout is not None else ()
    content: dict[str, Any] = {
        "id": document.id,
        "text": document.text,
        "images": list(document.images) if with_images else list(map(_type_and_size, document.images)),
        "image_positions": positions or [0] * len(document.images),
        "metadata": metadata,
        "hidden_text": hidden,
        "failure": None,
    }
    if document.failure is not None:
        content["failure"] = {"code": document.failure.code, "message": document.failure.message}
    return jsontext.dumps_any(content) + b"\n"


def _type_and_size(uri: str) -> dict[str, Any]:
    head, _, encoded = uri.partition(",")
    return {"media_type": head.removeprefix("data:").partition(";")[0], "bytes": len(encoded.rstrip("=")) * 3 // 4}


def _documents(inputs: tuple[str, ...], reading: Reading) -> Iterator[Document]:
    """The documents as they are read. What could be read and not sent has its failure as well."""
    for part in find_parts(inputs, reading.encoding):
        for document in read_part(part, reading):
            failure = document.failure or unsendable(document)
            yield document if failure is document.failure else replace(document, failure=failure)


def _reported(documents: Iterable[Document], counts: Counter[str]) -> Iterator[Document]:
    """The same documents, counted by their codes, with a line of progress now and then."""
    said = time.monotonic()
    for document in documents:
        counts[document.failure.code if document.failure is not None else ""] += 1
        if time.monotonic() - said >= _REPORT_EVERY:
            said = time.monotonic()
            console.say(f"{_summary(counts)}, so far")
        yield document


def _summary(counts: Counter[str]) -> str:
    read, failed = counts[""], sum(count for code, count in counts.items() if code)
    codes = ", ".join(f"{count} {code}" for code, count in sorted(counts.items()) if code)
    return f"{read} documents read" + (f", {failed} that cannot be read ({codes})" if failed else "")
