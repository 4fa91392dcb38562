"""Coverage of what SQLAlchemy runs in greenlets: each of them is traced as a thread would be.

Coverage's own way (`concurrency = greenlet`) asks at each call of any function which greenlet it is
in: a quarter of what a test run costs. Here a greenlet changes the tracer when it is entered and
left. One tracer over both would count lines of the one for files of the other.
"""

import sys
import threading
from collections.abc import Callable
from typing import Any


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
            sys.settrace(self._tracer or threading.gettrace())
            try:
                return how(*args, **kwargs)
            finally:
                self._tracer = sys.gettrace()
                sys.settrace(outer)

    shim._AsyncIoGreenlet = Traced
