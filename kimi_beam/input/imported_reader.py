"""A user's reader that is named as ``module:function``, and imported by each worker for itself."""

from __future__ import annotations

from dataclasses import dataclass

from kimi_beam.input.readers.content import Content
from kimi_beam.schema.imported_objects import check_function, import_object
from kimi_beam.types.document import Document


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
        check_function(self.name, "--reader", "a file's bytes and its path")
