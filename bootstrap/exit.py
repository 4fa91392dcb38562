"""The one way out of a process of ours.

A process that used the Temporal SDK may crash while its interpreter shuts down: threads of the
SDK's core meet a finalizing interpreter (sdk-python#300), and the exit code lies. So every entry
point ends here.

Source: reference/engine.md 1.6.
"""

import contextlib
import logging
import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """Flush what was written and end the process without finalizing the interpreter."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        # A reader that went away (`| head`), or a stream that was closed, is not worth a traceback.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
