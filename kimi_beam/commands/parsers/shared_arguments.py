"""Arguments, and words of ``--help``, that several commands have."""

from __future__ import annotations

import argparse

BEAM_OPTIONS_OF_STORES = (
    "Options of Beam's say how a filesystem is reached, as with extract: --s3_endpoint_url, --no_auth, …"
)


def add_schema_of_rows(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Declares ``--schema`` of a command that compares rows."""
    schema = "the schema of the rows, perhaps with other x-compare (default: the one that the rows' files have)"
    parser.add_argument("--schema", metavar="FILE|module:Class", help=schema)
