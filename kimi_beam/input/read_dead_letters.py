"""`ReadDeadLetters`: reads dead letters from files and makes documents of them, to be run again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import apache_beam as beam

from kimi_beam.errors import InputError
from kimi_beam.files.compressed_files import uncompressed_name
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import find, normal, open_input
from kimi_beam.input.fields import Reading, unreadable_line
from kimi_beam.input.file_parts import Part, find_parts
from kimi_beam.input.json_lines import read_lines
from kimi_beam.input.read_parts import read_as
from kimi_beam.input.redrive import Choice, document_of
from kimi_beam.results.dead_letter_lines import SUFFIX, DeadLetterError, decode
from kimi_beam.types.dead_letter import DeadLetter
from kimi_beam.types.document import Document
from kimi_beam.types.failure import Failure

LEFT = "left"
_LETTERS = Reading(max_document_bytes=256 << 20)
"""Lines may be longer than those of documents, because a dead letter holds the document and, in base64, evidence."""
_DOCUMENTS = "documents"
_FOUND = Document | DeadLetter


@beam.typehints.with_output_types(Document, left=DeadLetter)
class ReadDeadLetters(beam.PTransform):
    """Reads dead letters to run their documents again.

    ``PBegin -> documents: PCollection[Document], left: PCollection[DeadLetter]``

    ``result.documents`` is the input of `Extract`; ``result.left`` is the dead letters that were not chosen. A document
    keeps the count of its attempts. After a bad answer it is asked anew (the next *round*). A request that is still
    open is polled before anything is submitted. A line that is no dead letter is a `Document` that carries its failure,
    with the id ``PATH#LINE``.

    Example:
        >>> with beam.Pipeline() as pipeline:
        ...     letters = pipeline | kb.ReadDeadLetters("out", codes=["schema_violation"])
        ...     _ = letters.documents | beam.Map(lambda document: print(document.id, document.earlier.round))
        ...     results = letters.documents | kb.Extract("receipt.json", service=service)
        ...     _ = results | kb.WriteDataset("out2", "receipt.json", model=service.model, left=letters.left)
        receipt-2 1

    Args:
        patterns: Paths and globs of JSON lines (which may be compressed: ``.gz``, ``.bz2``, ``.xz``, ``.zst``), and
            directories that a run has written.
        codes: Run only dead letters with one of these codes again, retryable or not. Empty: of any code.
        stages: Run only dead letters of one of these stages again, retryable or not. Empty: of any stage. Without
            codes and stages, the retryable dead letters are run again. Those of the stage ``read`` never are, because
            they do not hold the document.
        limit: The most dead letters that are run again, the first by path and position. None: all.

    Raises:
        InputError: When the pipeline is built: nothing matches, or a file holds no dead letters, or dead letters of an
            unknown version.
        ConfigError: There is no such code or stage.
        DeadLetterError: In the running pipeline: a dead letter is of an unknown version.
    """

    def __init__(
        self,
        patterns: str | Sequence[str],
        *,
        codes: Sequence[str] = (),
        stages: Sequence[str] = (),
        limit: int | None = None,
    ) -> None:
        super().__init__()
        self._patterns = letter_files((patterns,) if isinstance(patterns, str) else patterns)
        self._choice = Choice(tuple(codes), tuple(stages))
        self._limit = limit
        if limit is not None and limit < 0:
            raise InputError("ReadDeadLetters: limit must not be negative")

    def expand(self, pipeline: Any) -> Any:
        start = pipeline | beam.Create([self._patterns]).with_output_types(tuple[str, ...])
        if self._limit is not None:
            found = start | "ReadFirst" >> beam.FlatMap(_read_first, self._choice, self._limit).with_output_types(
                _FOUND
            )
        else:
            found = (
                start
                | "FindParts" >> beam.FlatMap(find_parts).with_output_types(Part)
                | "Spread" >> beam.Reshuffle()
                | "ReadPart" >> beam.FlatMap(_read, self._choice).with_output_types(_FOUND)
            )
        by_kind = beam.FlatMap(_by_kind).with_output_types(_FOUND)
        outputs = found | "Part" >> by_kind.with_outputs(LEFT, main=_DOCUMENTS).with_output_types(_FOUND)
        outputs[_DOCUMENTS].element_type = Document
        outputs[LEFT].element_type = DeadLetter
        return outputs


def chosen_documents(patterns: tuple[str, ...], choice: Choice, limit: int | None) -> Iterator[Document]:
    """The documents of the dead letters that are run again, read in this process.

    Args:
        patterns: The patterns of the files, as `letter_files` gives them.
        choice: Which dead letters are run again.
        limit: The most of them. None: all.
    """
    every = (found for part in find_parts(patterns) for found in _found(part))
    return (found for found in _chosen(every, choice, limit) if isinstance(found, Document) and found.failure is None)


def letter_files(patterns: Sequence[str]) -> tuple[str, ...]:
    """The patterns of files of dead letters. For a directory that is the pattern of the dead letters in it.

    Raises:
        InputError: A pattern matches nothing, or a file whose first line is not a dead letter of a known version.
    """
    if not patterns:
        raise InputError("no dead letters: name at least one path, glob or directory")
    file_patterns: list[str] = []
    for pattern in patterns:
        files = pattern if find(pattern) else FileSystems.join(normal(pattern), f"dead-letters-*{SUFFIX}*")
        paths = [found.path for found in find(files)]
        if not paths:
            raise InputError(f"no dead letters at {pattern}: no file matches, and no run has written there")
        for path in paths:
            _check(path)
        file_patterns.append(files)
    return tuple(file_patterns)


def _check(path: str) -> None:
    if not uncompressed_name(path).endswith(SUFFIX):
        raise InputError(f"{path} holds no dead letters: those are JSON lines ({SUFFIX}, perhaps compressed)")
    try:
        with open_input(path) as f:
            line = f.readline()
    except Exception as e:  # whatever a filesystem or a decompressor raises
        raise InputError(f"cannot read {path}: {' '.join(str(e).split())[:300] or type(e).__name__}") from None
    try:
        decode(line)
    except DeadLetterError as e:
        raise InputError(f"{path}: {e}") from None
    except ValueError:
        # A damaged line becomes a failed document in the pipeline. Only a file of other JSON objects is refused here.
        if line.startswith(b"{") and line.rstrip().endswith(b"}") and b'"document_id"' not in line:
            raise InputError(f"{path} holds no dead letters: its first line has no document_id") from None


def _read(part: Part, choice: Choice) -> Iterator[Document | DeadLetter]:
    return _chosen(_found(part), choice, None)


def _read_first(patterns: tuple[str, ...], choice: Choice, limit: int) -> Iterator[Document | DeadLetter]:
    return _chosen((found for part in find_parts(patterns) for found in _found(part)), choice, limit)


def _found(part: Part) -> Iterator[Document | DeadLetter]:
    return read_as(part, _LETTERS, partial(read_lines, parse=_parse))


def _chosen(
    every: Iterable[Document | DeadLetter], choice: Choice, limit: int | None
) -> Iterator[Document | DeadLetter]:
    """Makes documents of the chosen dead letters. The other dead letters, and failed documents, stay as they are."""
    chosen = 0
    for found in every:
        if isinstance(found, DeadLetter) and choice.takes(found) and (limit is None or chosen < limit):
            chosen += 1
            yield document_of(found)
        else:
            yield found


def _parse(line: bytes, path: str) -> DeadLetter | Failure:
    try:
        return decode(line)
    except DeadLetterError as e:
        raise DeadLetterError(f"{path}: {e}") from None
    except ValueError as e:
        return unreadable_line(line, f"the line is no dead letter: {e}", e)


def _by_kind(found: Document | DeadLetter) -> Iterator[Any]:
    yield beam.pvalue.TaggedOutput(LEFT, found) if isinstance(found, DeadLetter) else found
