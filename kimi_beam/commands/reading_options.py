"""The options that say how files become documents, which all commands that read documents have."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, get_args

from kimi_beam.commands import option_values
from kimi_beam.input.readers.content import HiddenTextPolicy, PageChoice

if TYPE_CHECKING:
    from kimi_beam.input.fields import Reading


def add_reading_options(group: argparse._ArgumentGroup) -> None:
    """Declares the options that say how files become documents.

    Args:
        group: The group in which ``--help`` shows them.
    """
    add = group.add_argument
    key = "key or column that holds the id (default: id); '#': the id is PATH#LINE or PATH#ROW"
    add("--id-field", default="id", metavar="KEY", help=key)
    text = "key or column that holds the text (default: text); '*': all of them, as lines 'name: value'"
    add("--text-field", default="text", metavar="KEY", help=text)
    bound = "bytes of a line, a file or a row at most, uncompressed; what is larger is a dead letter "
    bound += "(default: 33554432)"
    add("--max-document-bytes", type=option_values.at_least_one, default=32 << 20, metavar="N", help=bound)
    shown = (
        "what the model is shown of each page of a file: its text, a picture of it, both, or (auto, the default) its "
        "text unless it has none that can be read"
    )
    add("--pages", choices=get_args(PageChoice), default="auto", help=shown)
    hidden = (
        "a text in a file that a person would not see, such as white on white: leave it out (drop, the default), show "
        "it to the model, or make the document a dead letter"
    )
    add("--hidden-text", choices=get_args(HiddenTextPolicy), default="drop", help=hidden)
    encoding = "encoding of the texts that are in neither UTF-8 nor UTF-16, such as cp1252 or shift_jis"
    add("--encoding", metavar="NAME", help=encoding)
    place = "where the workers find the password of encrypted files: env:NAME or file:PATH"
    add("--password-from", metavar="PLACE", help=place)
    unknown = "pass over files of kinds that cannot be read, and name them (default: refuse the input)"
    add("--skip-unknown", action="store_true", help=unknown)
    reader = (
        "function that reads each whole file first, called with its bytes and path, such as readers:by_ocr; or "
        "tomarkdown, Workers AI's own conversion"
    )
    add("--reader", metavar="MODULE:FUNCTION", help=reader)


def reading_of(args: argparse.Namespace) -> Reading:
    """How the options of `add_reading_options` say that files become documents.

    Raises:
        ConfigError: An option has a wrong value.
    """
    from kimi_beam.input.fields import Reading  # not for --help: it takes half a second

    return Reading(
        id_field=args.id_field,
        text_field=args.text_field,
        max_document_bytes=args.max_document_bytes,
        pages=args.pages,
        hidden_text=args.hidden_text,
        encoding=args.encoding,
        password_from=args.password_from,
        skip_unknown=args.skip_unknown,
    )
