"""Tests in several processes at once: what runs together in one of them, and what goes first."""

import gc
import os
import threading
from collections.abc import Generator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.tracing import (
    CHILDREN,
    Tracing,
    imports_seen_elsewhere,
    keep_from_children,
    trace_greenlets,
)

# What tests share asserts as well: its failures show their values, as those of tests do.
pytest.register_assert_rewrite(
    *(f"tests.{folder}" for folder in ("contract", "e2e", "faults", "rig", "unit", "workflows"))
)

# How long an example takes is the machine's business: no test judges the clock.
_EXAMPLES = int(os.environ.get("EXAMPLES", "30"))
settings.register_profile("patient", deadline=None, max_examples=_EXAMPLES)
settings.load_profile("patient")

# Temporal servers collect garbage less often: memory is there, and two cores are all that is.
os.environ.setdefault("GOGC", "400")

_TRACING = Tracing()

_ONE_AFTER_THE_OTHER = ("tests/faults/providers/", "tests/faults/", "tests/e2e/")
"""Folders whose tests start processes of their own: at most one test of each at a time."""

_LONGEST = ("tests/faults/", "tests/contract/test_openapi.py")

_SEEN_IN_OTHER_WORKFLOWS = (
    *("approvals", "cancel", "caps", "children", "circuits", "clients", "engine_identity"),
    *("executions", "external_agents", "forks", "histories", "sessions", "side_by_side", "tools"),
    *("turns", "workers"),
)
_COVERED_ELSEWHERE = (
    *("tests/faults/", "tests/replay/"),
    *(f"tests/contract/test_{name}.py" for name in ("chat_model", "store_fold", "toolbox")),
    *(f"tests/workflows/test_{name}.py" for name in _SEEN_IN_OTHER_WORKFLOWS),
)
"""What runs again and again what is traced in other tests: tracing adds a third to its cost.

All these files together are the only ones to see one in three hundred of the lines that are seen.
"""


_SET_UP: set[Path] = set()
"""Files with a test that was set up, and traced meanwhile."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc] # ships no type information
    """Hand out whole files, and these folders whole: what a module sets up is set up once."""

    def _split_scope(self, nodeid: str) -> str:
        for folder in _ONE_AFTER_THE_OTHER:
            if nodeid.startswith(folder):
                return folder
        return nodeid.partition("::")[0]


@pytest.hookimpl(trylast=True)  # after coverage has begun, in every process
def pytest_sessionstart() -> None:
    # What was imported stays: looking through it again and again is a tenth of a run.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    if threading.gettrace() is not None:
        trace_greenlets()
    keep_from_children()


Step = Generator[None, object, object]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Step:
    # Every process imports the same: one of them traces it.
    is_first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
    with _TRACING.paused(), nullcontext() if is_first else imports_seen_elsewhere():
        _TRACING.sort_imports()
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop() -> Step:
    with _TRACING.paused():
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Step:
    told = CHILDREN if item.get_closest_marker("traces_children") else {}
    os.environ.update(told)
    try:
        return (yield)
    finally:
        for name in told:
            del os.environ[name]


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Step:
    # What a file's fixtures set up for its first test they set up for all of them.
    is_new = item.path not in _SET_UP
    if item.get_closest_marker("untraced") is None:
        _SET_UP.add(item.path)
    return (yield from _traced(item, here=is_new))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Step:
    return (yield from _traced(item))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Step:
    return (yield from _traced(item))


def _traced(item: pytest.Item, *, here: bool = True) -> Step:
    """Trace a phase of a test: `here`, and in any case in threads that it starts."""
    if item.get_closest_marker("untraced") is not None:
        return (yield)
    with _TRACING.resumed(here=here):
        return (yield)


def pytest_xdist_setupnodes() -> None:
    from tests.rig.forked import share_nursery  # noqa: PLC0415 - its asserts are rewritten by then

    keep_from_children()
    # One for all processes: it imports the whole product.
    share_nursery()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    config.option.loadscopereorder = False  # in the order collected
    return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: the rest fills the other processes."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST))
    for item in items:
        if item.nodeid.startswith(_COVERED_ELSEWHERE):
            item.add_marker(pytest.mark.untraced)
