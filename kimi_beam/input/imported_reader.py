"""A user's reader that is named as ``module:function``, and imported by each worker for itself."""

from __future__ import annotations

from dataclasses import dataclass

from kimi_beam.errors import ConfigError
from kimi_beam.input.readers.content import Content
from kimi_beam.schema.source import import_object
from kimi_beam.types.document import Document
from kimi_beam.wire.printable import printable


@dataclass(frozen=True, slots=True)
class ImportedReader:
    """A reader of whole files that is known by its name, so that the command line can pass it on to workers.

    Attributes:
        name: ``module:function``.
    """

    name: str

    def __call__(self, content: bytes, path: str) -> Document | Content | str | None:
        """Reads one file by the user's function."""
        read: Document | Content | str | None = import_object(self.name)(content, path)
        return read

    def check(self) -> None:
        """Imports the function, before anything is read.

        Raises:
            ConfigError: It cannot be imported, or is no function.
        """
        try:
            found = import_object(self.name)
        except Exception as e:  # a user's module may raise anything while it is imported
            reason = printable(" ".join(str(e).split())[:200])
            raise ConfigError(f"--reader: cannot import {self.name}: {type(e).__name__}: {reason}") from None
        if not callable(found):
            raise ConfigError(f"--reader: {self.name} is no function of a file's bytes and its path")
