"""Reads what a run has written: the answers of its rows as they were, and why its other documents have none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError

from kimi_beam.errors import ConfigError, InputError, SchemaError
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import listing, normal
from kimi_beam.files.store_errors import in_one_line
from kimi_beam.report.summary import FILE_NAME
from kimi_beam.schema import Formats, OutputSchema, SchemaSource
from kimi_beam.scoring.document_scores import ROW

Output: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
"""The directory of a run; or those of a run and of the redrives of what failed in it, in the order of time."""
_ROWS = 1_000
"""So many rows are read at once."""
_FORMATS: tuple[Formats, ...] = (True, "local", False)
_SCHEMA = b"kimi_beam.json_schema"
_TROUBLE = (OSError, BeamIOError, pa.ArrowException)


class WrittenAnswer(NamedTuple):
    """One document of a run that has ended."""

    document_id: str
    outcome: str
    """``row``, or the code of its dead letter."""
    answer: Any
    """The answer of a row, None of a dead letter."""
    metadata: Mapping[str, Any]
    beside: Mapping[str, Any] = MappingProxyType({})
    """Of a row, the further columns that were asked for, as far as its file has them, by name."""


@dataclass(frozen=True)
class WrittenRun:
    """The output of a run that has ended.

    Attributes:
        directory: The directory that `WriteDataset`, or ``kimi-beam extract``, has written.
        schema: The schema of its rows.
    """

    directory: str
    schema: OutputSchema
    _rows: tuple[str, ...]
    _letters: tuple[str, ...]

    @classmethod
    def at(cls, directory: str, schema: SchemaSource | None = None) -> WrittenRun:
        """Finds the output in a directory.

        Args:
            directory: The directory.
            schema: The schema of its rows. None: the one that is written in its files.

        Raises:
            InputError: No run has written there, or has not ended, or the rows are of another schema.
            SchemaError: The schema that is written in its files cannot be used by itself.
        """
        path = normal(directory)
        try:
            files = {FileSystems.split(found.path)[1]: found.path for found in listing(path)}
        except Exception as e:  # each store's library has errors of its own
            raise InputError(f"cannot read {path}: {in_one_line(path, e)}") from None
        rows, letters = (_named(files, kind) for kind in (r"extractions-.*\.parquet", r"dead-letters-.*\.jsonl"))
        if FILE_NAME not in files or not rows:
            lacks = f"{FILE_NAME}, which a run writes at its end" if rows else "extractions-*.parquet"
            raise InputError(f"{path} is no output of a run, for it has no {lacks}: name the directory of --output")
        return cls(path, _schema_of(rows[0], schema), rows, letters)

    def answers(self, columns: Sequence[str] = ()) -> Iterator[WrittenAnswer]:
        """Each document once: those with rows, then those with dead letters. Of letters with one id the first counts.

        Args:
            columns: Further columns of the rows, such as ``_provenance``. A file that has no such column gives none.

        Raises:
            InputError: A file cannot be read, or two rows have one id.
        """
        seen: set[str] = set()
        for path in self._rows:
            for found in self._rows_of(path, columns):
                if found.document_id in seen:
                    raise InputError(f"{path} has a second row of {found.document_id!r}: answers are told apart by ids")
                seen.add(found.document_id)
                yield found
        for path in self._letters:
            for found in _letters_of(path):
                if found.document_id not in seen:
                    seen.add(found.document_id)
                    yield found

    def rows(self, columns: Sequence[str] = ()) -> Iterator[WrittenAnswer]:
        """Each row, file by file.

        Args:
            columns: Further columns, as for `answers`.

        Raises:
            InputError: A file cannot be read.
        """
        for path in self._rows:
            yield from self._rows_of(path, columns)

    def letters(self) -> Iterator[dict[str, Any]]:
        """The line of each dead letter, file by file, as a JSON object.

        Raises:
            InputError: A file cannot be read, or a line of it is no dead letter.
        """
        from kimi_beam.results.dead_letter_fields import checked  # late: it takes a tenth of a second

        for path in self._letters:
            try:
                with FileSystems.open(path) as f:
                    for line in f:
                        content = orjson.loads(line)
                        checked(content)
                        yield content
            except (*_TROUBLE, ValueError) as e:
                raise InputError(f"cannot read the dead letters in {path}: {in_one_line(path, e)}") from None

    def summary(self) -> dict[str, Any]:
        """The content of ``summary.json``.

        Raises:
            InputError: It cannot be read.
        """
        path = FileSystems.join(self.directory, FILE_NAME)
        try:
            with FileSystems.open(path) as f:
                found: Any = orjson.loads(f.read())
        except (*_TROUBLE, ValueError) as e:
            raise InputError(f"cannot read {path}: {in_one_line(path, e)}") from None
        if not isinstance(found, dict):
            raise InputError(f"{path} is no summary of a run: it holds no JSON object")
        return found

    def _rows_of(self, path: str, columns: Sequence[str]) -> Iterator[WrittenAnswer]:
        names = ["_document_id", *self.schema.arrow_schema.names, "_metadata"]
        try:
            with FileSystems.open(path) as f:
                file = pq.ParquetFile(f)
                _check_columns(path, file.schema_arrow, self.schema)
                further = [name for name in columns if name in file.schema_arrow.names]
                for batch in file.iter_batches(batch_size=_ROWS, columns=[*names, *further]):
                    ids: list[Any] = batch.column("_document_id").to_pylist()
                    metadata: list[Any] = batch.column("_metadata").to_pylist()
                    others = batch.select(further).to_pylist() if further else [{}] * len(ids)
                    answers = self.schema.from_arrow(batch)
                    for one, answer, known, beside in zip(ids, answers, metadata, others, strict=True):
                        yield WrittenAnswer(one, ROW, answer, orjson.loads(known) if known else {}, beside)
        except (*_TROUBLE, ValueError) as e:
            raise InputError(f"cannot read {path}: {in_one_line(path, e)}") from None


def written_runs(output: Output, schema: SchemaSource | None) -> list[WrittenRun]:
    """The runs of an output, the earliest first.

    Args:
        output: The directories.
        schema: As for `WrittenRun.at`.

    Raises:
        ConfigError: No directory is named.
        InputError: One is no output of a run.
        SchemaError: The schema that is written in its files cannot be used by itself.
    """
    directories = [output] if isinstance(output, (str, os.PathLike)) else list(output)
    if not directories:
        raise ConfigError("no output: name at least one directory")
    return [WrittenRun.at(os.fspath(one), schema) for one in directories]


def answers_of(runs: Sequence[WrittenRun], columns: Sequence[str] = ()) -> Iterator[WrittenAnswer]:
    """Each document of several runs once, such as a run and the redrives of what failed in it.

    A row counts before a dead letter, and of two rows or two dead letters that of the later run.

    Args:
        runs: The runs, the earliest first.
        columns: Further columns of the rows, as for `WrittenRun.answers`.

    Raises:
        InputError: A file cannot be read, or two rows of one run have one id.
    """
    answered: set[str] = set()
    failed: dict[str, WrittenAnswer] = {}
    for run in reversed(runs):
        for one in run.answers(columns):
            if one.outcome != ROW:
                failed.setdefault(one.document_id, one)
            elif one.document_id not in answered:
                answered.add(one.document_id)
                yield one
    yield from (one for name, one in failed.items() if name not in answered)


def _named(files: Mapping[str, str], pattern: str) -> tuple[str, ...]:
    """The paths of the files whose names match, in the order of their names."""
    return tuple(files[name] for name in sorted(files) if re.fullmatch(pattern, name))


def _letters_of(path: str) -> Iterator[WrittenAnswer]:
    try:
        with FileSystems.open(path) as f:
            for line in f:
                letter = orjson.loads(line)
                yield WrittenAnswer(letter["document_id"], letter["code"], None, letter["document"]["metadata"] or {})
    except (*_TROUBLE, ValueError, KeyError, TypeError) as e:
        raise InputError(f"cannot read the dead letters in {path}: {in_one_line(path, e)}") from None


def _schema_of(path: str, named: SchemaSource | None) -> OutputSchema:
    """The schema of a file of rows.

    Args:
        path: The file.
        named: The schema that the user names; None: the one in the file.
    """
    try:
        with FileSystems.open(path) as f:
            columns = pq.read_schema(f)
    except _TROUBLE as e:
        raise InputError(f"cannot read {path}: {in_one_line(path, e)}") from None
    if named is not None:
        schema = OutputSchema(named)
        # How `format` is asserted decides on the columns of times, and is not written in a schema.
        source: SchemaSource = schema.json_schema if isinstance(named, OutputSchema) else named
        fitting = (one for one in (schema, *_with_formats(source)) if _fits(columns, one))
        if (found := next(fitting, None)) is None:
            _check_columns(path, columns, schema)
        return found or schema
    written = (columns.metadata or {}).get(_SCHEMA)
    if written is None:
        raise InputError(f"{path} does not say its schema, as each file of a run does: another program has written it")
    return _of_footer(path, written, columns)


def _of_footer(path: str, written: bytes, columns: pa.Schema) -> OutputSchema:
    try:
        for schema in _with_formats(orjson.loads(written)):
            if _fits(columns, schema):
                return schema
    except (SchemaError, ValueError) as e:
        raise SchemaError(f"the schema in {path} cannot be used by itself ({e}): name its file by --schema") from None
    raise SchemaError(f"the schema in {path} no longer gives its columns: name the schema by --schema")


def _with_formats(source: SchemaSource) -> Iterator[OutputSchema]:
    return (OutputSchema(source, formats=formats) for formats in _FORMATS)


def _fits(columns: pa.Schema, schema: OutputSchema) -> bool:
    return all(
        (index := columns.get_field_index(field.name)) >= 0 and columns.field(index).type.equals(field.type)
        for field in schema.arrow_schema
    )


def _check_columns(path: str, columns: pa.Schema, schema: OutputSchema) -> None:
    """Refuses a file whose columns are not those of the schema."""
    if _fits(columns, schema):
        return
    for field in schema.arrow_schema:
        index = columns.get_field_index(field.name)
        if index < 0 or not columns.field(index).type.equals(field.type):
            found = "no such column" if index < 0 else f"{columns.field(index).type} in the file"
            raise InputError(f"{path} is of another schema: {field.name!r} is {found}, and {field.type} by the schema")
