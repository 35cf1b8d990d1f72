"""The order of boxes on a page."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kimi_beam.input.readers.office.slides.reading_order import Box, reading_order


def test_columns_below_a_title_are_read_one_after_the_other() -> None:
    boxes = {
        "right 2": Box(60, 50, 100, 90),
        "left 1": Box(0, 20, 50, 60),
        "right 1": Box(60, 20, 100, 48),
        "title": Box(0, 0, 100, 15),
        "left 2": Box(0, 62, 50, 90),
        "foot": Box(0, 95, 100, 99),
    }
    names = list(boxes)
    order = [names[index] for index in reading_order(list(boxes.values()))]
    assert order == ["title", "left 1", "left 2", "right 1", "right 2", "foot"]


def test_boxes_that_touch_or_overlap_a_little_are_still_parted() -> None:
    assert reading_order([Box(0, 9.5, 10, 20), Box(0, 0, 10, 10)]) == [1, 0]


@given(st.lists(st.builds(Box, *[st.integers(-50, 50)] * 4)))
def test_every_box_is_read_once_however_they_lie(boxes: list[Box]) -> None:
    assert sorted(reading_order(boxes)) == list(range(len(boxes)))
