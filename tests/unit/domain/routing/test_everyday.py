"""Everyday requests fall where a person would put them, whatever exam questions taught."""

import time

import pytest

from domain.routing.complexity import Around, complexity_of
from domain.routing.everyday import is_recorded_kind, prior_of
from domain.routing.reading import take_apart
from domain.tiers import ModelTier

TOOLS = Around(tools=6)

LOW = (
    "hi",
    "hello",
    "Hey there!",
    "Good morning",
    "thanks a lot!",
    "ok",
    "Hi! Can you help me?",
    "How are you today?",
    "What can you do?",
    "What is 2+2?",
    "12 * 7",
    "What is 15% of 80?",
    "Convert 5 miles to km",
    "What is the square root of 144?",
    "What is the capital of France?",
    "hi, what's the capital of Spain?",
    "Who wrote Hamlet?",
    "Translate 'good night' into Spanish",
    "What time is it in Tokyo?",
    "Why is the sky blue?",
    "whats the capital of peru",
    "give me a synonym for happy",
    "Define entropy in one sentence",
    "What's the weather like today?",
)
HIGH = (
    "Design a distributed consensus protocol for five nodes and prove safety and liveness",
    "Prove that there are infinitely many primes",
    "Show that the square root of 2 is irrational",
    "Give a proof that the square root of 2 is irrational",
    "Write a compiler for a small language with type inference and a polynomial time algorithm",
    "Please derive the gradient of the softmax cross-entropy loss",
    "Refactor this module into a hexagonal architecture without breaking its public API",
    "Plan a three-week trip through Japan for five, at most two hotels a week, vegetarian only",
    "Help me plan the migration of our monolith to microservices, step by step",
    "Compare PostgreSQL and MongoDB in depth for a multi-tenant SaaS, with trade-offs",
    "Could you please design a database schema for an online shop?",
    "Write a thread-safe LRU cache in Rust. It must support TTL, hold at most 1000 entries, and"
    " should not use unsafe code",
    "First read the report, then extract all figures, then compare them with last year's, and"
    " finally write a summary that must be at most 200 words",
    "Optimize this SQL query and explain the execution plan in detail",
    "Write a detailed essay comparing Kant and Hume on causality, with citations",
)
BETWEEN = (
    "Write a poem about autumn",
    "Write a Python function that reverses a string",
    "Summarize this article: " + "so it came to pass that " * 60,
    "Plan my day",
    "Find the cheapest flight from Berlin to Rome tomorrow",
)


@pytest.mark.parametrize("around", [Around(), TOOLS], ids=["bare", "tools"])
@pytest.mark.parametrize("request_", LOW)
def test_small_talk_sums_and_look_ups_are_low(request_: str, around: Around) -> None:
    found = complexity_of(request_, around)

    assert found.score < 0.4
    assert found.tier is ModelTier.SIMPLE


@pytest.mark.parametrize("around", [Around(), TOOLS], ids=["bare", "tools"])
@pytest.mark.parametrize("request_", HIGH)
def test_open_and_constrained_work_is_high(request_: str, around: Around) -> None:
    assert complexity_of(request_, around).score > 0.6


@pytest.mark.parametrize("request_", BETWEEN)
def test_plain_work_is_in_between(request_: str) -> None:
    assert 0.3 < complexity_of(request_).score < 0.8


def test_tools_count_only_where_the_request_hints_at_them() -> None:
    plain, hinting = "Write a poem about autumn", "Search the web for the latest prices"

    assert complexity_of(plain, TOOLS).score == complexity_of(plain).score
    assert complexity_of(hinting, TOOLS).score > complexity_of(hinting).score
    assert "tool" in complexity_of(hinting, TOOLS).parts


@pytest.mark.parametrize(
    ("request_", "is_recorded"),
    [
        ("Which is even?\nA. 1\nB. 2\nC. 3\nD. 5\nAnswer:", True),
        ("Ali had $21. Leila gave him half of her $100. How much does Ali have in the end?", True),
        ("Ali had $21. Leila gave him $100. Is he happy with what his friends gave to him?", False),
        (
            "I have 2 nodes and 3 disks. Please design how many replicas we need. ok?",
            False,
        ),
        ("How many are 2 and 3?", False),
        ("hello", False),
    ],
)
def test_exam_questions_are_left_to_what_was_fitted_on_them(
    request_: str, is_recorded: bool
) -> None:
    assert is_recorded_kind(take_apart(request_)) is is_recorded


def test_history_makes_open_requests_harder_and_greetings_not() -> None:
    seen, greeting = take_apart("Go on with that"), take_apart("hello")

    assert prior_of(seen, messages=40).score > prior_of(seen).score
    assert prior_of(greeting, messages=40) == prior_of(greeting)


@pytest.mark.parametrize("text", ["to in " * 19 + "q", "x" * 3000, "\n" * 3000, "ok " * 39 + "q"])
def test_no_text_makes_a_look_slow(text: str) -> None:
    started = time.process_time()
    complexity_of(text)

    assert time.process_time() - started < 0.05
