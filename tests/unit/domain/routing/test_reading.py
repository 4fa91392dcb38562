"""What is seen in a request, the classes that it shows, and the trees that weigh it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.routing.classes import TaskClass, task_class_of
from domain.routing.reading import constraints_of, features, steps_of, take_apart
from domain.routing.trees import Node, walk

CHOICE = "Which of these is NOT prime?\nA. 7\nB. 9 of them\nC. none of the above\nAnswer:"


def test_a_question_with_answers_is_taken_apart() -> None:
    seen = take_apart(CHOICE)

    assert seen.question == "Which of these is NOT prime?"
    assert seen.options == ("7", "9 of them", "none of the above")
    assert take_apart("B. alone\nB) here").options == ()


def test_features_have_names_and_count_what_they_say() -> None:
    found = features(take_apart(CHOICE))

    assert found["has_options"] == found["loud_negation"] == found["asks"] == 1.0
    assert found["options_with_number"] == pytest.approx(2 / 3)
    assert found["options_bare_number"] == pytest.approx(1 / 3)
    assert found["all_or_none"] == 1.0
    assert found["length"] > found["question_length"]


def test_of_a_long_request_the_beginning_and_the_end_are_read() -> None:
    seen = take_apart("start " + "x" * 100_000 + " end?")

    assert len(seen.text) < 4000
    assert seen.text.startswith("start")
    assert seen.text.endswith("end?")
    assert seen.length > 100_000


@pytest.mark.parametrize(
    ("request_", "task_class"),
    [
        ("Fix this:\n```\nprint(1)\n```", TaskClass.CODE),
        ("Sum these:\n| a | b |\n| 1 | 2 |", TaskClass.DATA),
        (CHOICE, TaskClass.CHOICE),
        ("Read this. " + "word " * 400, TaskClass.LONG),
        ("What is 3 + 4 * 5 = x?", TaskClass.MATH),
        ("How many apples are 3 and 4?", TaskClass.MATH),
        ("Write a poem about tea", TaskClass.WRITING),
        ("Is it late?", TaskClass.QUESTION),
        ("what a day", TaskClass.QUESTION),
        ("Good morning", TaskClass.OTHER),
        ("a = b + c", TaskClass.OTHER),
    ],
)
def test_a_request_shows_its_class(request_: str, task_class: TaskClass) -> None:
    assert task_class_of(request_) is task_class


def test_steps_and_constraints_are_counted() -> None:
    seen = take_apart("1. Read it\n2. Then sum it up. You must use at most 10 words.")

    assert steps_of(seen) == 3
    assert constraints_of(seen) == 2


def test_a_tree_says_a_number_and_which_feature_gave_what() -> None:
    tree = Node(0.1, 1, 5.0, Node(-1.0), Node(0.5, 0, 1.0, Node(0.2), Node(2.0)))
    parts = [0.0, 0.0]

    said = walk(tree, (3.0, 5.0), parts)

    assert said == 2.0
    assert parts == pytest.approx([1.5, 0.4])
    assert walk(tree, (3.0, 4.9), [0.0, 0.0]) == -1.0


@given(st.text(max_size=300))
def test_every_request_can_be_read(text: str) -> None:
    seen = take_apart(text)

    assert list(features(seen)) == list(features(take_apart(CHOICE)))
    assert task_class_of(text)
