"""Texts as words: what meets in one stem, and what is learned of a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.choosing.words import content_words, read, stem_of


@pytest.mark.parametrize(
    ("words", "stem"),
    [
        ("book books booked booking", "book"),
        ("cake cakes", "cak"),
        ("stop stopped stopping stops", "stop"),
        ("glass", "glass"),
        ("call called calling", "call"),
        ("is", "is"),
        ("red", "red"),
    ],
)
def test_forms_of_a_word_meet_in_one_stem(words: str, stem: str) -> None:
    assert {stem_of(word) for word in words.split()} == {stem}


def test_stop_words_and_what_hangs_on_words_are_dropped() -> None:
    assert content_words("What's the COST of 3 tables, please? They're John's") == [
        "cost",
        "3",
        "tabl",
        "they",
        "john",
    ]


def test_verbs_of_asking_are_no_subject() -> None:
    assert content_words("Tell me, does he look things up?") == content_words("he look things")


def test_a_negation_stays_one_word() -> None:
    assert content_words("I don\u2019t") == ["don\u2019t"]


def test_arithmetic_in_signs_is_the_word_calculate() -> None:
    assert content_words("12 * 7") == ["12", "7", stem_of("calculate")]


def test_what_is_learned_of_a_text_is_the_same_for_the_same_words() -> None:
    assert read("Book a flight!").marks == read("book A flight").marks
    assert read("book a flight").marks != read("flight a book").marks


def test_a_pasted_book_is_read_to_a_limit() -> None:
    reading = read(" ".join(f"w{number}" for number in range(50_000)))

    assert len(reading.words) == 2000


@given(st.text(max_size=200))
def test_every_text_can_be_read(text: str) -> None:
    reading = read(text)

    assert len(set(reading.marks)) == len(reading.marks)
    assert list(reading.words) == content_words(text)
