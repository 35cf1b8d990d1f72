"""A user's function that finds sensitive values, by its name ``module:function``: each worker imports it for itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kimi_beam.request.sensitive_rules import Span
from kimi_beam.schema.imported_objects import check_function, import_object


@dataclass(frozen=True, slots=True)
class ImportedFinder:
    """A function of a text that gives ``(start, end, kind)`` of each sensitive value, known by its name.

    Attributes:
        name: ``module:function``.
    """

    name: str

    def __call__(self, text: str) -> Iterable[Span]:
        """Finds by the user's function."""
        found: Iterable[Span] = import_object(self.name)(text)
        return found

    def check(self) -> None:
        """Imports the function, before anything is read.

        Raises:
            ConfigError: It cannot be imported, or is no function.
        """
        check_function(self.name, "--redact", "a text")
