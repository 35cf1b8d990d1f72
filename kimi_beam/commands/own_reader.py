"""`--reader`: the function that reads whole files before this package does, by its name."""

from __future__ import annotations

import re
from collections.abc import Callable

from kimi_beam.errors import ConfigError
from kimi_beam.input.fields import Reader
from kimi_beam.input.imported_reader import ImportedReader
from kimi_beam.service.workers_ai import WorkersAI
from kimi_beam.transforms.to_markdown import ToMarkdown

TO_MARKDOWN = "tomarkdown"
"""The name of Workers AI's own Markdown conversion."""
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def reader_of(name: str | None, service: Callable[[], WorkersAI]) -> Reader | None:
    """The reader that an option names.

    Args:
        name: ``tomarkdown`` or ``module:function``. None: there is none.
        service: Gives the service whose Markdown conversion is asked; called for ``tomarkdown`` alone.

    Raises:
        ConfigError: There is no such reader, or the service has no Markdown conversion.
    """
    if name is None:
        return None
    if name == TO_MARKDOWN:
        return ToMarkdown(service())
    if not _FUNCTION.fullmatch(name):
        raise ConfigError(f"--reader: {name!r} is neither {TO_MARKDOWN} nor a function's name, such as readers:by_ocr")
    reader = ImportedReader(name)
    reader.check()
    return reader
