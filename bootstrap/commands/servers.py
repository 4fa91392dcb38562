"""Which server a command talks to: the one it is told, the one that runs here, or one it starts."""

import contextlib
import json
import os
import shlex
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bootstrap.children import Child
from bootstrap.commands.failure import CommandError, ServerAwayError
from bootstrap.commands.given import load_settings
from bootstrap.terminal import working

if TYPE_CHECKING:
    from bootstrap.commands.api import Api

_CONNECT_SECONDS = 2.0
LOG_NAME = "orchestrator.log"
_ANY_PORTS = {
    "ORCHESTRATOR_PORT": "0",
    "ORCHESTRATOR_TEMPORAL_PORT": "0",
    "ORCHESTRATOR_TEMPORAL_UI_PORT": "0",
}
"""So that a server of our own disturbs nobody."""
_IN_USE = "is in use by an orchestrator"
"""What `up` says when somebody else was faster; an e2e test holds both together."""
_OTHER_SECONDS = 30.0
_POLL_SECONDS = 0.05


def find_running(data_dir: Path) -> str | None:
    """Return the API of the orchestrator that runs on a data folder, None when there is none."""
    try:
        said = json.loads((data_dir / "endpoints.json").read_text())
        api, pid = said["api"], int(said["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # A process that was killed leaves the file behind, and its id may be somebody else's by now.
    return str(api) if api and _lives(pid) and _listens(str(api)) else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), _CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _wait_for_other(data_dir: Path) -> str | None:
    """Return the API of an orchestrator that is starting on a data folder, once it serves."""
    deadline = time.monotonic() + _OTHER_SECONDS
    while (found := find_running(data_dir)) is None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return found


def _api(url: str, key: str | None) -> "Api":
    from bootstrap.commands.api import Api  # noqa: PLC0415 - httpx2: 0.1 s that `--help` saves

    return Api(url, key)


def connect(api_url: str | None, api_key: str | None, data_dir: Path | None = None) -> "Api":
    """Return the API to talk to.

    Raises:
        ServerAwayError: none was named and none runs here.
    """
    if api_url:
        return _api(api_url, api_key)
    folder = load_settings(data_dir=data_dir).data_dir
    found = find_running(folder)
    if found is None:
        raise ServerAwayError(
            f"no orchestrator runs on the data folder {folder}; start one with `orchestrator up`,"
            " or name one with --api-url",
            was_reached=False,
        )
    return _api(found, api_key)


class Servers:
    """The server of a command that may start one: found again whenever it is lost."""

    def __init__(self, api_url: str | None, api_key: str | None, data_dir: Path | None) -> None:
        self._api_url = api_url
        self._api_key = api_key
        self._data_dir = data_dir
        self._child: Child | None = None
        self._child_url = ""

    def __enter__(self) -> "Servers":
        return self

    def __exit__(self, *_: object) -> None:
        with working("stopping the orchestrator of this command"):
            self._stop()

    @property
    def is_own(self) -> bool:
        """Whether a server runs that was started here, and ends with the command."""
        return self._child is not None and self._child.is_running

    def come_back(self, run_id: str) -> str:
        """Say what becomes of a run that is left now, and how to see it again."""
        folder = "" if self._api_url else self._in_folder()
        place = f" --api-url {shlex.quote(self._api_url)}" if self._api_url else ""
        tail = f"{folder}orchestrator runs tail {run_id}{place}"
        if self._child is None:
            return f"the run goes on: {tail}"
        return (
            "the run stops with the orchestrator of this command and goes on with the next: "
            f"{folder}orchestrator up\nwhile that runs, see it with: {tail}"
        )

    def _in_folder(self) -> str:
        if self._data_dir is None:
            return ""
        return f"ORCHESTRATOR_DATA_DIR={shlex.quote(str(self._data_dir))} "

    @contextlib.contextmanager
    def open(self) -> Iterator["Api"]:
        """Connect to the server that is named, that runs here, or that is started now.

        Raises:
            CommandError: none is there and none can be started.
        """
        with _api(self._api_url or self._found_or_started(), self._api_key) as api:
            yield api

    def _found_or_started(self) -> str:
        if self.is_own:
            return self._child_url
        folder = load_settings(data_dir=self._data_dir).data_dir
        return find_running(folder) or self._start(folder)

    def _stop(self) -> None:
        if self._child is not None:
            self._child.stop()

    def _start(self, folder: Path) -> str:
        self._stop()
        environment = {**_ANY_PORTS, "ORCHESTRATOR_DATA_DIR": str(folder.absolute())}
        child = Child(["up"], folder / LOG_NAME, environment)
        try:
            with working("starting an orchestrator for this command"):
                serving = child.wait_ready()
        except CommandError as error:
            child.stop()
            found = _wait_for_other(folder) if _IN_USE in error.message else None
            if found is None:
                raise
            return found
        except BaseException:
            child.stop()
            raise
        self._child, self._child_url = child, serving.api or ""
        return self._child_url
