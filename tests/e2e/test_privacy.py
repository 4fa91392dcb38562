"""Agents are kept away from every port that the product opened itself, Temporal's HTTP API too."""

import sys
from itertools import pairwise
from pathlib import Path

import pytest

from bootstrap.children import Child
from bootstrap.commands.api import Api
from bootstrap.commands.failure import CommandError
from tests.e2e.test_product import settings


def server_ports(data_dir: Path) -> dict[str, int]:
    """Return the ports in the command line of the Temporal server of a data folder."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        words = entry.read_text().split("\0")
        if "start-dev" in words and any(str(data_dir) in word for word in words):
            pairs = dict(pairwise(words))
            return {name: int(value) for name, value in pairs.items() if name.endswith("port")}
    raise AssertionError("there is no Temporal server of ours")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_port_of_the_product_takes_an_agent(tmp_path: Path) -> None:
    child = Child(["up"], tmp_path / "log", settings(tmp_path / "data", TEMPORAL_ADDRESS=""))
    try:
        url = child.wait_ready().api
        ports = server_ports(tmp_path / "data")
        with Api(str(url)) as api:
            for port in ports.values():
                body = {"agent_id": "x", "name": "X", "endpoint": f"http://127.0.0.1:{port}"}

                with pytest.raises(CommandError, match="this server's own"):
                    api.call("POST", "/v1/agents/register", body=body)
    finally:
        child.stop()
    assert set(ports) == {"--port", "--ui-port", "--http-port", "--metrics-port"}
