"""What the product keeps to itself: every port that it opened, and every file that it made."""

import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from bootstrap.commands.api import Api
from bootstrap.commands.failure import CommandError
from tests.e2e.forked import ForkedServer
from tests.e2e.program import settings_for


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Start the product under the most generous umask; give its API and its data folder."""
    folder = tmp_path_factory.mktemp("product")
    before = os.umask(0)
    try:
        child = ForkedServer(["up"], folder / "log", settings_for(folder))
    finally:
        os.umask(before)
    try:
        yield str(child.wait_ready().api), folder / "data"
    finally:
        child.stop()


def server_ports(data_dir: Path) -> dict[str, int]:
    """Return the ports in the command line of the Temporal server of a data folder."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        words = entry.read_text().split("\0")
        if "start-dev" in words and any(str(data_dir) in word for word in words):
            found = dict(pairwise(words))
            return {name: int(value) for name, value in found.items() if name.endswith("port")}
    raise AssertionError("there is no Temporal server of ours")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_port_of_the_product_takes_an_agent(product: tuple[str, Path]) -> None:
    url, data_dir = product
    ports = server_ports(data_dir)

    with Api(url) as api:
        for port in ports.values():
            body = {"agent_id": "x", "name": "X", "endpoint": f"http://127.0.0.1:{port}"}

            with pytest.raises(CommandError, match="this server's own"):
                api.call("POST", "/v1/agents/register", body=body)
    assert set(ports) == {"--port", "--ui-port", "--http-port", "--metrics-port"}


def test_the_data_folder_and_every_database_and_log_in_it_are_the_owners_alone(
    product: tuple[str, Path],
) -> None:
    _, data_dir = product
    kept = [path for path in data_dir.iterdir() if ".db" in path.name and path.suffix != ".json"]

    assert {"orchestrator.db", "temporal.db", "temporal.db.log"} <= {path.name for path in kept}
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in kept} == {
        path.name: "0o600" for path in kept
    }
    assert oct(data_dir.stat().st_mode & 0o777) == "0o700"
