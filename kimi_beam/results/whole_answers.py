"""Whether the answer for a document that was asked for whole lacks rows that its text shows, or has wrong sums.

Most documents show no table, which is seen at a glance (`shown_rows.may_show_rows`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kimi_beam.columnar import Replies, Texts
from kimi_beam.results.completeness import Shortfall, shortfalls, unmet_sums
from kimi_beam.results.shown_rows import may_show_rows, may_show_rows_in_json, tables
from kimi_beam.results.unanswered_lists import unanswered_lists
from kimi_beam.schema import OutputSchema
from kimi_beam.types.document import Document

_LEAST_ROWS = 2
"""A table of fewer rows cannot lack one: the others tell what a row of the list is."""


class Lack(NamedTuple):
    """What an answer lacks."""

    rows: Shortfall | None
    """The rows that the text shows and the answer has not; None if nothing is known to be missing."""
    sums: tuple[str, ...]
    """The equations of the schema (``x-check``) that are not fulfilled, one line each."""
    lists: tuple[str, ...] = ()
    """The lists that are empty although the text shows a table with their columns, one line each."""

    @property
    def is_worth_asking(self) -> bool:
        """Whether the document is asked for once more."""
        return bool(self.sums) or (self.rows is not None and self.rows.is_clear)

    @property
    def figures(self) -> tuple[str, ...]:
        """What is missing, one line each."""
        rows = () if self.rows is None else (self.rows.figures,)
        return (*rows, *self.lists, *self.sums)

    @property
    def measure(self) -> tuple[int, int, int]:
        """How much is missing: of two answers the one with the smaller measure is the better one."""
        rows = 0 if self.rows is None else self.rows.shown - self.rows.answered
        return rows, len(self.lists), len(self.sums)


def lack(text: str, answer: Any, schema: OutputSchema) -> Lack | None:
    """What a valid answer lacks; None if nothing is known to be missing.

    Args:
        text: The text of the whole document.
        answer: The answer as a JSON value.
        schema: The schema of the answer.
    """
    shown = tables(text) if may_show_rows(text) else []
    rows, lists = list[Shortfall](), list[str]()
    if any(len(table.rows) >= _LEAST_ROWS for table in shown):
        rows = shortfalls([shown], [answer], schema.merge_rules)
        lists = unanswered_lists(shown, answer, schema.merge_rules)
    sums = unmet_sums(schema.sum_checks, answer)
    return Lack(rows[0] if rows else None, tuple(sums), tuple(lists)) if rows or sums or lists else None


def lacks(
    replies: Replies,
    instances: Mapping[int, Any],
    schema: OutputSchema,
    read_again: Callable[[Sequence[Document]], list[Document]],
) -> dict[int, Lack]:
    """The answers for whole documents that lack something, by index.

    Args:
        replies: Some replies, also such for parts, which are passed over.
        instances: By index, the values of the answers that are valid.
        schema: The schema of the answers.
        read_again: Reads the files of documents that travel as references.
    """
    documents = replies.documents
    found: dict[int, Lack] = {}
    for index in instances if schema.sum_checks else _with_rows(replies):
        document, report = documents.others.get(index), replies.reports.get(index)
        is_part = document is not None and document.part is not None
        if index not in instances or is_part or (report is not None and report.parts is not None):
            continue
        shown = ""
        if document is None or not document.is_reference:
            shown = documents.texts[index]
        elif document.file is not None and document.file.shows_rows:
            (present,) = read_again([document])
            shown = present.text if present.failure is None else ""
        if (missing := lack(shown, instances[index], schema)) is not None:
            found[index] = missing
    return found


def _with_rows(replies: Replies) -> Iterator[int]:
    """The documents whose text may show a table."""
    texts, others = replies.documents.texts, replies.documents.others
    if isinstance(texts, Texts):
        yield from (index for index, inner in enumerate(texts.inner) if may_show_rows_in_json(inner))
    else:
        yield from (index for index, text in enumerate(texts) if may_show_rows(text))
    for index, document in others.items():
        if document.is_reference and document.file is not None and document.file.shows_rows:
            yield index
