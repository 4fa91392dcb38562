"""What makes a serving process start sooner and run evenly: its event loop, and when it collects.

The garbage collector finds nothing in half a million objects that imports leave, and looks through
them again and again: a tenth of the start, and pauses of 0.2 s under load.
"""

import asyncio
import contextlib
import gc
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

_THRESHOLDS = (2_000, 5, 2)
"""What lives at the start is not looked through, so a collection costs little; workflows that are
put away are cycles, and their memory is wanted back."""


def hurry() -> None:
    """Collect no garbage until the process has settled."""
    gc.disable()


def settle() -> None:
    """Take what lives now as there to stay: later collections need not look at it."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()


@contextlib.contextmanager
def late_models() -> Iterator[None]:
    """Import modules inside whose pydantic models are built when the first of each is made.

    A process needs a part of them, and FastAPI's of OpenAPI hardly ever; building is thread-safe.
    """
    from pydantic import BaseModel  # noqa: PLC0415 - not for `--help`

    BaseModel.model_config["defer_build"] = True
    try:
        yield
    finally:
        del BaseModel.model_config["defer_build"]


@contextlib.contextmanager
def without_pydantic_v1() -> Iterator[None]:
    """Import FastAPI routes inside without pydantic's old half.

    FastAPI imports it to refuse its models, and takes its absence as a no.
    """
    name = "pydantic.v1"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment] # the import system's word for "not here"
    try:
        yield
    finally:
        del sys.modules[name]


def run(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run a serving process's coroutine on the fastest loop there is; the process leaves after.

    The loop is not closed: that would wait for every task, and a tool may be deaf to its end.
    """
    return asyncio.Runner(loop_factory=_loop_factory()).run(main())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - not made for every platform

    return uvloop.new_event_loop
