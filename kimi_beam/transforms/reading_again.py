"""`read_again`: gives references their content, those of whole documents and those of parts."""

from __future__ import annotations

from kimi_beam.input import file_references
from kimi_beam.request.part_references import reading_parts

read_again = reading_parts(file_references.read_again)
"""Reads the files of documents and parts that travel as references: `kimi_beam.input.file_references.read_again`."""
