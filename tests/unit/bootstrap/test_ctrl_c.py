"""Ctrl-C is remembered where Python drops it, and left alone where somebody else has it."""

import signal
import sys
from collections.abc import Iterator

import pytest

from bootstrap.commands.ctrl_c import CtrlC


@pytest.fixture(autouse=True)
def _as_in_a_terminal() -> Iterator[None]:
    """Whoever runs the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Dropping:
    """Is pressed in its finalizer, where an exception goes nowhere."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_that_python_drops_is_raised_at_the_next_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dropped: list[object] = []
    # pytest has a hook of its own there, which would fail the test.
    monkeypatch.setattr(sys, "unraisablehook", lambda what: dropped.append(what.exc_type))

    with CtrlC() as ctrl_c:
        ctrl_c.check()
        Dropping()
        assert dropped == [KeyboardInterrupt]
        with pytest.raises(KeyboardInterrupt):
            ctrl_c.check()

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_that_is_not_dropped_is_raised_at_once() -> None:
    with CtrlC(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_where_it_is_ignored_it_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    with CtrlC() as ctrl_c:
        signal.raise_signal(signal.SIGINT)
        ctrl_c.check()

    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
