"""A user's function that finds sensitive values, by its name ``module:function``: each worker imports it for itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kimi_beam.errors import ConfigError
from kimi_beam.request.sensitive_rules import Span
from kimi_beam.schema.source import import_object
from kimi_beam.wire.printable import printable


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
        try:
            found = import_object(self.name)
        except Exception as e:  # a user's module may raise anything while it is imported
            reason = printable(" ".join(str(e).split())[:200])
            raise ConfigError(f"--redact: cannot import {self.name}: {type(e).__name__}: {reason}") from None
        if not callable(found):
            raise ConfigError(f"--redact: {self.name} is no function of a text")
