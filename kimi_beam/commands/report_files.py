"""Writes the report of a run as two files, which appear whole or not at all: the page, and its figures as JSON."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kimi_beam.commands import console
from kimi_beam.commands.output_lines import output_lines
from kimi_beam.errors import ConfigError, KimiBeamError
from kimi_beam.files.filesystems import FileSystems
from kimi_beam.files.paths import normal
from kimi_beam.journal.files import submit_times
from kimi_beam.output.dataset import REPORT_FIGURES, REPORT_PAGE, journal_of
from kimi_beam.output.page.write_report import write_report
from kimi_beam.schema import jsontext

_HTML = ".html"
_SAY_EVERY = 5.0
"""Seconds between two lines of progress."""


def write_files(output: str, html: str | None = None, **settings: Any) -> tuple[str, str]:
    """Writes the report of a run.

    Args:
        output: The directory of the run.
        html: The file for the page; the figures are beside it. None: both are in `output`.
        **settings: Those of `write_report`.

    Returns:
        The paths of the page and of its figures.

    Raises:
        ConfigError: The name of the page does not end in ``.html``.
        KimiBeamError: The report cannot be made, or not be written.
    """
    if html is not None and not html.endswith(_HTML):
        raise ConfigError(f"--html {html}: the name of a page ends in {_HTML}, and its figures go beside it as .json")
    directory = normal(output)
    page = FileSystems.join(directory, REPORT_PAGE) if html is None else html
    json = FileSystems.join(directory, REPORT_FIGURES) if html is None else f"{html.removesuffix(_HTML)}.json"
    with output_lines(page) as write:
        figures = write_report(output, write, submitted=submitted_in(output), heard=_progress(), **settings)
    with output_lines(json) as write:
        write(jsontext.dumps_any(figures) + b"\n")
    warn_of_differences(figures)
    return page, json


def submitted_in(output: str) -> dict[str, float]:
    """When the jobs of a run were accepted, by its journal; empty if it has none that can be read."""
    journal = journal_of(normal(output))
    try:
        return {} if journal is None else submit_times(journal)
    except KimiBeamError as e:
        console.say(f"how long answers took is not shown: {e}")
        return {}


def warn_of_differences(figures: dict[str, Any]) -> None:
    """Says where the files of a run hold something else than its summary says."""
    for one in figures["differs_from_summary"]:
        name = one["name"].replace("_", " ")
        console.say(f"the files hold {one['files']} {name}, and summary.json says {one['summary']}: is a file missing?")


def _progress() -> Callable[[str, int], None]:
    said = time.monotonic()

    def heard(what: str, count: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _SAY_EVERY:
            said = time.monotonic()
            console.say(f"{count} {what} read, so far")

    return heard
