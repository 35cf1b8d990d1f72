"""`kimi-beam schema`: shows a schema's columns, the schema that is sent, and whether a change breaks readers."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kimi_beam.commands import console, search_path
from kimi_beam.commands.text_tables import text_table
from kimi_beam.errors import SchemaError, UserError
from kimi_beam.schema import Formats, OutputSchema, arrow, jsontext
from kimi_beam.schema.diff import Verdict, diff, verdict
from kimi_beam.schema.source import line


def run(args: argparse.Namespace) -> int:
    """Runs the command.

    Returns:
        The exit code: 0 done, 1 the change is breaking, 2 a mistake.
    """
    sources = (args.old, args.new) if args.action == "diff" else (args.file,)
    try:
        with search_path.for_references(*sources):
            return (
                _diff(args.old, args.new, as_json=args.json)
                if args.action == "diff"
                else _show(args.file, args.formats, sent=args.sent, as_json=args.json)
            )
    except UserError as e:
        return console.fail(e)


def _show(source: str, formats: Formats, *, sent: bool, as_json: bool) -> int:
    schema = OutputSchema(source, formats=formats)
    for doubt in schema.doubts:
        console.say(f"the schema: {doubt}")
    if schema.contradiction is not None:
        raise SchemaError(f"no answer to this schema can be valid: {schema.contradiction}")
    if sent:
        # It goes through `jsontext`, because that keeps all digits of numbers beyond a double.
        text = json.dumps(json.loads(jsontext.dumps(schema.response_format)), indent=2, ensure_ascii=False)
        print("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text))
        return 0
    if as_json:
        _show_json(schema)
        return 0
    fields = {field.name: field for field in schema.arrow_schema}
    console.put(f"{schema.name}: {len(fields)} columns, schema hash {schema.hash}")
    print()
    _table([("property", "becomes", "because"), *arrow.described(schema.leaves)])
    print()
    _table(
        [("column", "null", "type"), *((n, "yes" if f.nullable else "no", _type(f.type)) for n, f in fields.items())]
    )
    of_json, leaves = arrow.json_share(schema.leaves)
    print(f"\n{of_json} of {leaves} leaves are JSON text.")
    for column, field in fields.items():
        name = (field.metadata or {}).get(arrow.PROPERTY.encode())
        if name is None:
            continue
        console.put(
            f"The property {name.decode()!r} is the column {column!r}: its own name is none that a column can have."
        )
    return 0


def _show_json(schema: OutputSchema) -> None:
    names = ("property", "becomes", "because")
    columns = [{"column": one.name, "nullable": one.nullable, "type": _type(one.type)} for one in schema.arrow_schema]
    properties = [dict(zip(names, row, strict=True)) for row in arrow.described(schema.leaves)]
    console.put_object(schema_hash=schema.hash, columns=columns, properties=properties)


def _type(kind: Any) -> str:
    text = str(kind).replace("extension<arrow.json>", "json")
    return text.replace("dictionary<values=string, indices=int32, ordered=0>", "string of a list")


def _table(rows: list[tuple[str, str, str]]) -> None:
    for row in text_table(rows, indent=2):
        print(row)


def _diff(old: str, new: str, *, as_json: bool) -> int:
    changes = diff(_columns(old), _columns(new))
    found = verdict(changes)
    if as_json:
        told = [{"path": one.path, "verdict": one.verdict.value, "description": one.description} for one in changes]
        console.put_object(verdict=found.value, changes=told)
        return 1 if found is Verdict.BREAKING else 0
    print(found.value)
    for change in changes:
        console.put(f"  {change}")
    return 1 if found is Verdict.BREAKING else 0


def _columns(source: str) -> pa.Schema:
    """The columns of a schema, or of a Parquet file."""
    if not source.endswith(".parquet"):
        return OutputSchema(source).arrow_schema
    try:
        found = pq.read_schema(source)
    except (OSError, pa.ArrowException) as e:
        raise SchemaError(f"cannot read the columns of {source}: {line(str(e), 200)}") from None
    ours = {"_document_id", "_metadata", "_provenance"}
    return pa.schema([field for field in found if field.name not in ours])
