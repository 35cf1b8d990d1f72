"""Which boxes are on a page as it is shown, all at once or one by one."""

from __future__ import annotations

import random

import numpy as np
import pytest
from both_paths import both_paths

from kimi_beam.input.readers.pdf.page_view import PageView

UPRIGHT = PageView(600, 800, (1, 0, 0, 0, -1, 800))
SIDEWAYS = PageView(800, 600, (0, 1, -20, 1, 0, -50))


@pytest.mark.parametrize("view", [UPRIGHT, SIDEWAYS])
def test_boxes_that_are_taken_as_on_the_page_together_are_so_one_by_one(view: PageView) -> None:
    chance = random.Random(3)
    with both_paths("together", "one by one", at_least=100) as taken:
        for _ in range(400):
            far = chance.choice((400, 400, 900))
            corners = np.array([[chance.uniform(50, far) for _ in range(4)] for _ in range(chance.randint(1, 20))])
            # Neither left nor bottom has to be the lesser one: a letter may be mirrored.
            is_held = view.holds(corners)
            taken["together" if is_held else "one by one"] += 1
            assert not is_held or view.shows(corners).all()


def test_a_box_that_reaches_over_an_edge_of_the_page_is_not_taken_as_held_by_it() -> None:
    inside = [100.0, 100.0, 110.0, 112.0]
    for outside in ([-1, 9, 9, 19], [9, -1, 19, 9], [595, 9, 601, 19], [9, 795, 19, 801], [601, 9, 595, 19]):
        assert not UPRIGHT.holds(np.array([inside, outside], float))
    assert UPRIGHT.holds(np.array([inside, [0, 0, 600, 800]]))
