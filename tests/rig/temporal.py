"""A Temporal dev server of the tests' own: killed, frozen and started again on the same file."""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from bootstrap.devserver.binary import sidecar_path
from bootstrap.devserver.find import Search
from bootstrap.devserver.process import Endpoint, choose_endpoint, command_line
from tests.rig.child import Child, wait_until

NAMESPACE = "default"


class TemporalServer:
    """The server apart from every role, as in production.

    Args:
        folder: where its data file and log are.
        config: dynamic configuration on top of the product's own.
    """

    def __init__(self, folder: Path, config: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._config = config or {}
        self._endpoint: Endpoint = choose_endpoint("127.0.0.1", 0, None)
        self._child: Child | None = None

    @property
    def address(self) -> str:
        return self._endpoint.address

    @property
    def data_file(self) -> Path:
        return self._folder / "temporal.db"

    @property
    def child(self) -> Child:
        assert self._child is not None, "start() comes first"
        return self._child

    def start(self) -> "TemporalServer":
        """Start on the same file and port as before, and wait until the port takes connections."""
        binary = Search(self.data_file, None).find()
        command = command_line(binary.path, self.data_file, self._endpoint, NAMESPACE)
        for name, value in self._config.items():
            command += ["--dynamic-config-value", f"{name}={value}"]
        # Beside other tests it gets one core at most; with two it would only spin.
        one_core = {"GOMAXPROCS": "1"} if "PYTEST_XDIST_WORKER" in os.environ else {}
        self._child = Child("temporal", command, self._folder / "temporal.log", one_core)
        wait_until("the Temporal server listens", self._listens, 30, self._child)
        return self

    def close(self) -> None:
        if self._child is not None:
            self._child.close()

    def _listens(self) -> bool:
        """Whether each of its ports takes connections: one alone may be somebody else's by now."""
        return all(map(self._takes, (self._endpoint.port, *self._endpoint.side_ports)))

    def _takes(self, port: int) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((self._endpoint.ip, port)) == 0


def note_other_version(data_file: Path) -> None:
    """Make the data file look as if another server had written it with a binary now gone."""
    sidecar = json.loads(sidecar_path(data_file).read_text())
    sidecar |= {"server_version": "1.30.0", "binary": "/gone/temporal"}
    sidecar_path(data_file).write_text(json.dumps(sidecar))
