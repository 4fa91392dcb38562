"""The one way out of a process."""

import subprocess
import sys

SCRIPT = """
import atexit, logging, sys
from bootstrap.exit import leave
atexit.register(lambda: print("finalized"))
logging.basicConfig(stream=sys.stderr)
logging.error("logged")
sys.stdout.write("written")
{more}
leave(7)
"""


def run(more: str = "") -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", SCRIPT.format(more=more)]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def test_what_was_written_is_flushed_and_the_interpreter_is_not_finalized() -> None:
    done = run()

    assert (done.returncode, done.stdout) == (7, "written")
    assert "logged" in done.stderr


def test_a_closed_stream_changes_nothing() -> None:
    assert run("sys.stdout.close()").returncode == 7
