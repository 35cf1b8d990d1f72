"""No part ends inside a row, wherever its name goes on."""

from __future__ import annotations

from itertools import product

import pytest
from wrapped_invoices import read_wrapped, wrapped_invoice

from kimi_beam.request.row_lines import lines_inside_rows, text_lines
from kimi_beam.request.splitting import Limits, split
from kimi_beam.results.merging import PartAnswer, merge
from kimi_beam.schema import OutputSchema
from kimi_beam.types.document import Document

WIDE = 1 << 30
RULES = OutputSchema({"type": "object", "properties": {"rows": {"type": "array"}}}).merge_rules


@pytest.mark.parametrize(("below", "separator"), list(product((True, False), ("aligned", "pipes", "tabs"))))
def test_no_row_is_halved_or_counted_twice_however_a_document_is_split(below: bool, separator: str) -> None:
    """Also if the model lists what stands in the context."""
    wrapped = 0
    for seed, rows in product(range(6), (3, 40)):
        document = wrapped_invoice(seed, rows, below=below, separator=separator)
        whole = read_wrapped(document.text, below=below, separator=separator)
        assert len(whole) == rows
        wrapped += sum(row["name"] not in document.text for row in whole)
        for tokens in (200, 300, 1_000):
            plain, greedy = [], []
            for part in split(document, Limits(tokens, WIDE)):
                assert part.part is not None
                where, context = (part.part.start, part.part.end), part.part.before
                own = read_wrapped(part.text, below=below, separator=separator)
                shown = read_wrapped(f"{context}\n{part.text}", below=below, separator=separator)
                plain.append(PartAnswer(*where, {"rows": own}, part.text, part.part.context))
                greedy.append(PartAnswer(*where, {"rows": shown}, part.text, part.part.context))
            assert merge(plain, RULES).value["rows"] == whole, (seed, tokens)
            assert merge(greedy, RULES).value["rows"] == whole, (seed, tokens)
    assert wrapped > 30


HEADER = "Item        Qty    Total"
ROW = "Widget {}     2     4.50"


@pytest.mark.parametrize(
    ("lines", "inside"),
    [
        # The last row shows that names go on below, the first one that they begin above.
        ([HEADER, "R", "with a lid", "R", "with a box", "", "Net total 9.00"], {2, 4}),
        ([HEADER, "Large and", "R", "Small and", "R", "Net total 9.00"], {2, 4}),
        ([HEADER, "-----------", "Large and", "R", "Small and", "R", "Net total 9.00"], {3, 5}),
        # Nothing shows it, so that the words are cut off from neither.
        ([HEADER, "R", "with a lid", "R", "Net total 9.00"], {2, 3}),
        # A line without words says nothing.
        ([HEADER, "-----------", "R", "R", "Page 2", "R", "Net total 9.00"], set()),
        ([HEADER, "R", "with a lid", "and a box", "", "Words, not of the table."], {2, 3}),
        (["Some words.", "More words.", "", "2 words and 3 words."], set()),
    ],
)
def test_lines_belong_to_the_row_that_their_table_shows(lines: list[str], inside: set[int]) -> None:
    text = "".join(f"{ROW.format(number) if line == 'R' else line}\n" for number, line in enumerate(lines))
    assert lines_inside_rows(text_lines(text, "", frozenset())) == inside


@pytest.mark.parametrize("below", [True, False])
def test_a_row_that_a_page_cuts_belongs_together(below: bool) -> None:
    known = ["R", "below", "", "Net total 9.00"] if below else ["", "above", "R"]
    lines = [HEADER, "R", "cut", "Page 1", HEADER, "R", *known]
    if below:
        lines = [HEADER, "R", "Page 1", HEADER, "cut", "R", *known]
    text = "".join(f"{ROW.format(number) if line == 'R' else line}\n" for number, line in enumerate(lines))
    page = text.index(HEADER, len(HEADER))
    found = lines_inside_rows(text_lines(text, "", {page}))
    assert {2, 3, 4} <= found if below else {3, 4, 5} <= found
    assert (5 if below else 2) not in found


def test_a_row_that_begins_with_a_small_letter_is_a_row_of_its_own() -> None:
    """Between them a small document can be cut in two, and need not be cut inside a row of two lines."""
    rows = ["licence", "Adapter", "licence Steel", "pipe", "chair", "Toner", "service"]
    lines = [name if name in ("licence", "pipe") else f"{name:<36}    16        238.58     3,817.28" for name in rows]
    text = "".join(f"{line}\n" for line in ["ACME Tools", "", HEADER, *lines, "", "Net total 94,853.76"])
    for tokens in range(40, 100):
        ends = [part.text.split()[-1] for part in split(Document("a", text), Limits(tokens, WIDE))]
        assert not {"licence", "pipe"} & set(ends), tokens
