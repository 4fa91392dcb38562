"""A pytest plugin that keeps the exit code of a test run honest.

A process that used the Temporal SDK crashes in about one of ten runs while its interpreter shuts
down: threads of the SDK's core meet a finalizing interpreter (sdk-python#300). The tests have
passed by then, but the exit code says SIGSEGV. So the run leaves through `os._exit` with pytest's
own exit code, after everything that must still happen at exit has happened.

Source: reference/engine.md 1.6.
"""

import atexit
import logging
import os
import sys
from collections.abc import Generator

import pytest

_exit_status: int | None = None
"""pytest's verdict, or None while it has none (a usage error never gets that far)."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Note the exit code after every other plugin (the coverage gate, for one) had its say."""
    global _exit_status  # noqa: PLW0603 - the one fact that must outlive pytest itself
    yield
    _exit_status = int(session.exitstatus)


def _leave() -> None:
    """Flush and leave without finalizing the interpreter."""
    if _exit_status is None or hasattr(sys, "last_value"):
        return  # pytest never ran, or died of an exception: Python's own exit code is the truth
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_exit_status)


# Registered before anything else is imported, so it runs after every other exit handler.
atexit.register(_leave)
