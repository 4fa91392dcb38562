"""Coverage of the product's lines alone, and at what they cost.

The test runner's own calls are as many as the product's: tracing stops outside of tests and while
tests are collected. Of what is imported, whenever it is, the product's modules alone are traced.

What SQLAlchemy runs in greenlets is traced as a thread would be. Coverage's own way
(`concurrency = greenlet`) asks at each call of any function which greenlet it is in: a quarter of
what a test run costs. Here a greenlet changes the tracer when it is entered and left. One tracer
over both would count lines of the one for files of the other.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any

PRODUCT = ("activities", "adapters", "api", "bootstrap", "domain", "worker", "workflows")

_IMPORTED = set(PRODUCT)
"""Packages whose modules are traced while they are imported."""

CHILDREN: dict[str, str] = {}
"""Variables that have a process measure its own lines, kept from those that tests start."""

_SPARE: list[Any] = []
"""Tracers of greenlets that ended. There is a greenlet a statement: a tracer each would be a
hundred thousand of them."""


class Tracing:
    """Whether lines are counted in this thread, and in threads that it starts."""

    def __init__(self) -> None:
        self._mine: Any = None
        self._theirs: Any = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Trace nothing that is called meanwhile.

        Coverage's own pause goes through the tracers of all threads there ever were, and its
        resuming leaves this thread with any one of them.
        """
        self._mine, self._theirs = sys.gettrace(), threading.gettrace()
        self._set(None, None)
        try:
            yield
        finally:
            self._set(self._mine, self._theirs)

    @contextmanager
    def resumed(self, *, here: bool = True) -> Iterator[None]:
        """Trace what is called meanwhile, within a pause: `here`, and in threads that start."""
        before = sys.gettrace(), threading.gettrace()
        self._set(self._mine if here else None, self._theirs)
        try:
            yield
        finally:
            self._set(*before)

    def sort_imports(self) -> None:
        """From here on trace how modules of the product are executed, and no others."""
        plain = SourceFileLoader.exec_module

        def exec_module(loader: SourceFileLoader, module: ModuleType) -> None:
            is_ours = module.__name__.partition(".")[0] in _IMPORTED
            with self._resumed_here() if is_ours else self._silenced():
                plain(loader, module)

        setattr(SourceFileLoader, "exec_module", exec_module)  # noqa: B010 - its base declares it

    def _resumed_here(self) -> AbstractContextManager[None]:
        """Resume, unless this thread is traced, or is another one: a tracer is for one thread."""
        is_main = threading.current_thread() is threading.main_thread()
        return self.resumed() if is_main and sys.gettrace() is None else nullcontext()

    @contextmanager
    def _silenced(self) -> Iterator[None]:
        tracer = sys.gettrace()
        if (
            self._mine is None
            and tracer is not None
            and threading.current_thread() is threading.main_thread()
        ):
            self._mine = tracer  # for what of ours is imported from there
        sys.settrace(None)
        try:
            yield
        finally:
            sys.settrace(tracer)
            _nothing()  # a tracer sees lines again only once something was called

    def _set(self, mine: Any, theirs: Any) -> None:
        threading.settrace(theirs)
        sys.settrace(mine)


@contextmanager
def imports_seen_elsewhere() -> Iterator[None]:
    """Trace no import meanwhile: another process of this run imports the same."""
    _IMPORTED.clear()
    try:
        yield
    finally:
        _IMPORTED.update(PRODUCT)


def keep_from_children() -> None:
    """Measure no process that tests start but those that are told to: it doubles their start."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        CHILDREN[name] = os.environ.pop(name)


def _nothing() -> None:
    pass


def trace_greenlets() -> None:
    """Have each greenlet of SQLAlchemy traced apart, from here on."""
    from sqlalchemy.util.concurrency import _concurrency_shim  # noqa: PLC0415 - few runs need it

    shim: Any = _concurrency_shim
    greenlet: Any = shim._AsyncIoGreenlet

    class Traced(greenlet):  # type: ignore[misc] # SQLAlchemy makes it when it is first asked for
        """Entered by two calls, and left as they return."""

        _tracer: Any = None

        def switch(self, *args: Any, **kwargs: Any) -> Any:
            return self._enter(super().switch, *args, **kwargs)

        def throw(self, *args: Any) -> Any:
            return self._enter(super().throw, *args)

        def _enter(self, how: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            outer = sys.gettrace()
            if outer is None:
                return how(*args, **kwargs)
            sys.settrace(self._tracer or (_SPARE.pop() if _SPARE else threading.gettrace()))
            try:
                return how(*args, **kwargs)
            finally:
                self._keep(sys.gettrace())
                sys.settrace(outer)

        def _keep(self, tracer: Any) -> None:
            if self.dead and tracer is not None:
                _SPARE.append(tracer)
            self._tracer = None if self.dead else tracer

    shim._AsyncIoGreenlet = Traced
