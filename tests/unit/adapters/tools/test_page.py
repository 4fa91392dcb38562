"""The readable text of a page, in time that grows with its size only."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.tools.page import page_text, page_title

PAGE = """<!DOCTYPE html><html><head><title>A &amp; B</title><style>p { color: red }</style>
<script>if (a < b) { document.write("<p>hidden</p>") }</script></head>
<body><!-- hidden > --><h1>Head&nbsp;line</h1><p>One <b>bold</b>
word &lt;here&gt;.</p><ul><li>first<li>second</ul>1 < 2 &amp;&amp; 3 > 2<SCRIPT>x</SCRIPT >end
"""


def test_page_reads_as_it_is_shown() -> None:
    assert page_text(PAGE).split("\n") == [
        "Head line",
        "One bold word <here>.",
        "first",
        "second",
        "1 < 2 && 3 > 2end",
    ]
    assert page_title(PAGE) == "A & B"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("a<!-- never closed", "a"),
        ("a<script>never closed", "a"),
        ("a<b never closed", "a"),
        ("a</>b", "ab"),
        ("a<?php x ?>b", "ab"),
        ("a<", "a<"),
        ("İ<script>x</script>b", "İb"),
        ("&#99999999999999999999999999999999;", "\ufffd"),
        ("<p>a<p>b", "a\nb"),
    ],
)
def test_malformed_page_is_read_as_far_as_it_makes_sense(page: str, text: str) -> None:
    assert page_text(page) == text


def test_page_without_a_title_has_none() -> None:
    assert page_title("<p>x") == ""


@pytest.mark.untraced  # a tracer's cost is as linear
@pytest.mark.parametrize(
    "piece",
    ["<", "<a", "<!--", "</", "<script>", "<script ", "&#1", "&", "<p>", "<a b='", "<title"],
)
def test_hostile_page_takes_linear_time(piece: str) -> None:
    """Half a MB of the worst we know; quadratic time would be minutes."""
    page = piece * (500_000 // len(piece))
    started = time.thread_time()

    page_text(page)
    page_title(page)

    assert time.thread_time() - started < 20


@given(st.text(alphabet="<>/!-abpscrit &#1;'\"=\n", max_size=200))
def test_nothing_breaks_the_reader(page: str) -> None:
    page_text(page)
    page_title(page)
