"""`orchestrator demo`, as `make demo` runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
PROGRAM = [sys.executable, "-P", "-m", "bootstrap.cli", "demo"]


@pytest.mark.cluster
def test_the_demo_shows_what_it_promises_and_exits_0(tmp_path: Path) -> None:
    environment = {**os.environ, "NO_COLOR": "1", "TMPDIR": str(tmp_path)}

    done = subprocess.run(
        PROGRAM,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert " NO " not in done.stdout
    assert done.stdout.count("  DONE  ") == 4
    links = re.findall(r"Temporal UI: (\S+)", done.stdout)
    assert len(links) == 4
    has_ui = "TEMPORAL_ADDRESS" not in os.environ  # a cluster may have none
    if has_ui:
        assert len(set(links)) == 4
        assert all("/workflows/run-" in link for link in links)
    for event in ("agent_stream_delta", "tool_call_created", "tool_result", "run_done"):
        assert event in done.stdout
    assert done.stdout.index("SIGKILL") < done.stdout.index("agent_stream_reset")
    assert re.search(r"\n4 runs, \d+ events, \d+ tokens, [\d.]+ seconds\n", done.stdout)
    assert "All was as promised" in done.stdout
    assert list(tmp_path.iterdir()) == []
    shown = README.read_text().partition("$ make demo")[2].partition("$ make up")[0].splitlines()
    missing = {timeless(line) for line in shown[1:]} - set(map(timeless, done.stdout.splitlines()))
    missing = {line for line in missing if has_ui or "Temporal UI" not in line}
    assert missing == {"..."}, "the README's sample is not what the demo prints"


def timeless(line: str) -> str:
    """Return a line of the demo without what differs from one time to the next."""
    line = re.sub(r"^  \d\d:\d\d:\d\d\.\d{3}", "", line)
    names = r"(?<=worker )\d+|(?<=:)\d{4,5}(?=/)|run-\w{26}"
    counts = r"\d+(?= events\b)|[\d.]+(?= s\b)"  # how words are grouped into deltas is chance
    line = re.sub(f"{names}|{counts}", "N", line)
    return " ".join(line.split())
