"""Which days a text names, and which of its dates can be read in two ways."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_beam.grounding.date_spellings import days_in, days_of, time_places

CHRISTMAS = date(2018, 12, 25)


@pytest.mark.parametrize(
    "text",
    [
        "25/12/2018", "25.12.18", "25 - 12 - 2018", "12/25/2018", "2018-12-25", "2018/12/25", "20181225",
        "25 Dec 2018", "25-DEC-18", "25th day of December, 2018", "December 25, 2018", "Dec. 25th, 2018",
        "25. Dezember 2018", "le 25 d\u00e9cembre 2018", "25 de diciembre de 2018", "2018\u5e7412\u670825\u65e5",
        "2018-12-25T08:00:00Z",
    ],
)  # fmt: skip
def test_a_day_is_found_in_any_spelling(text: str) -> None:
    places = days_in(f"Issued on {text}, in duplicate.")
    assert list(places) == [CHRISTMAS]
    assert places[CHRISTMAS][0].order == "clear"


@pytest.mark.parametrize("text", ["31/02/2018", "2018-13-01", "1.2.3", "125/12/2018", "12/2018", "Mayor 25, 2018"])
def test_what_is_no_date_names_no_day(text: str) -> None:
    assert not days_in(text)


def test_a_date_that_can_be_read_in_two_ways_is_both_days() -> None:
    assert {day: places[0].order for day, places in days_in("03/04/2018").items()} == {
        date(2018, 4, 3): "day first",
        date(2018, 3, 4): "month first",
    }


def test_another_date_of_the_text_tells_the_order_of_day_and_month() -> None:
    assert date(2018, 3, 4) not in days_in("from 03/04/2018 to 25/04/2018")
    assert date(2018, 4, 3) not in days_in("from 03/04/2018 to 04/25/2018")
    assert {date(2018, 4, 3), date(2018, 3, 4)} <= set(days_in("03/04/2018, 25/04/2018 and 04/25/2018"))


@given(st.dates(date(1970, 1, 1), date(2069, 12, 31)), st.sampled_from(["%d.%m.%Y", "%B %d, %Y", "%Y-%m-%d"]))
def test_a_value_that_is_a_date_means_its_day_and_its_digits_no_other(day: date, spelling: str) -> None:
    meant = days_of(day.strftime(spelling))
    assert day in meant
    assert all({one.day, one.month} == {day.day, day.month} and one.year == day.year for one in meant)


@pytest.mark.parametrize("text", ["", "12.50", "Dec", "25/12", "25/12/2018 and more", "the 25/12/2018"])
def test_a_value_that_is_no_date_alone_means_no_day(text: str) -> None:
    assert not days_of(text)


@pytest.mark.parametrize("text", ["20:49:59", "8:49:59 PM", "8.49.59 p.m."])
def test_a_time_of_day_is_found_in_any_spelling(text: str) -> None:
    assert time_places("20:49:59Z", f"at {text} sharp")


@pytest.mark.parametrize("text", ["20:49", "08:49:59", "20:49:5", "120:49:59"])
def test_another_time_of_day_is_not_taken_for_it(text: str) -> None:
    assert not time_places("20:49:59", f"at {text} sharp")
