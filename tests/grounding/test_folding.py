"""What folds together, and where its characters came from."""

from __future__ import annotations

import unicodedata

import pytest
from both_paths import both_paths
from hypothesis import given
from hypothesis import strategies as st

from kimi_beam.grounding import folding
from kimi_beam.grounding.folding import fold


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Tan  Woon\nYann", "TAN WOON YANN"),
        ("the \u201cAgent\u201d", 'The "agent"'),
        ("O\u2019Neill \u2013 Sons", "o'neill - sons"),
        ("\ufb01nal o\ufb03ce", "final office"),
        ("Stra\u00dfe", "STRASSE"),
        ("a\u00adgree\u200bment\u00a0two", "agreement two"),
        ("Rech-\n   nung", "Rechnung"),
        ("Zu\u0308rich", "Z\u00fcrich"),
        ("\uff11\uff12\uff13", "123"),
        ("\u0661\u0662\u0663", "123"),
    ],
)
def test_spellings_that_differ_by_space_case_and_typography_fold_together(one: str, other: str) -> None:
    assert fold(one).text == fold(other).text


@pytest.mark.parametrize(
    ("one", "other"),
    [("10\u00b2", "102"), ("1\u00bd", "11/2"), ("\u2460", "1"), ("m\u00fcller", "muller"), ("1-\n2", "12"), ("a", "b")],
)
def test_what_is_another_number_or_another_word_stays_so(one: str, other: str) -> None:
    assert fold(one).text != fold(other).text


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_each_character_says_which_one_it_was_made_of(text: str) -> None:
    folded = fold(text)
    starts = folded.starts.tolist()
    assert len(starts) == len(folded.text)
    assert starts == sorted(starts)
    for index, start in enumerate(starts):
        cluster_end = next((other for other in starts[index:] if other > start), len(text))
        made = unicodedata.normalize("NFKC", text[start:cluster_end]).casefold()
        letter = folded.text[index]
        assert not letter.isspace()
        if letter.isascii() and letter.isalpha():
            assert letter in unicodedata.normalize("NFKC", made).casefold()


def test_an_ascii_text_folds_at_a_glance_as_any_text_does() -> None:
    with both_paths("ascii", "any") as taken:

        @given(st.text(st.characters(max_codepoint=127), max_size=40) | st.text(max_size=40))
        def holds(text: str) -> None:
            taken["ascii" if text.isascii() else "any"] += 1
            careful = folding._fold_any(text)
            quick = folding._fold_ascii(text) if text.isascii() else careful
            assert (quick.text, quick.starts.tolist()) == (careful.text, careful.starts.tolist())

        holds()
