"""`--redact`: the rules and functions that it names."""

from __future__ import annotations

from collections.abc import Sequence

from kimi_beam.errors import ConfigError
from kimi_beam.request.imported_finder import ImportedFinder
from kimi_beam.request.redact_document import Finder, RedactImages, Redactor
from kimi_beam.request.sensitive_rules import KINDS


def functions_of(names: Sequence[str]) -> list[str]:
    """Those of the names that are of functions, ``module:function``."""
    return [name for name in names if ":" in name and name.partition(":")[0] not in KINDS]


def redactor_of(names: Sequence[str], images: RedactImages | None, *, keeps_originals: bool) -> Redactor | None:
    """What redacts the documents; None if nothing is named.

    Args:
        names: ``iban``, ``card``, ``email``, ``phone``, ``phone:REGION`` or ``module:function``.
        images: Whether documents with pictures are sent all the same. None: the user has not said.
        keeps_originals: Whether dead letters hold documents as they came in.

    Raises:
        ConfigError: There is no such rule or function, or the others are said without a rule.
    """
    if not names:
        if images is not None or keeps_originals:
            option = "--redact-images" if images is not None else "--keep-originals"
            raise ConfigError(f"{option}: say what is redacted too (--redact)")
        return None
    functions = functions_of(names)
    finders: list[str | Finder] = []
    for name in names:
        if name in functions:
            finder = ImportedFinder(name)
            finder.check()
            finders.append(finder)
        else:
            finders.append(name)
    return Redactor.of(finders, images or "refuse", keeps_originals=keeps_originals)
