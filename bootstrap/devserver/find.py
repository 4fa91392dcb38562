"""Finds a `temporal` binary: every way in order, cheapest first, and why each one failed.

`python -m bootstrap.devserver.find` is what `make setup` runs. Knows nothing of running servers.
"""

import asyncio
import os
import shutil
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from bootstrap.devserver.binary import FLOOR, Binary, Sidecar, probe
from bootstrap.exit import leave
from bootstrap.go_build import (
    PINNED_SERVER,
    BuildFailure,
    Report,
    build,
    built_path,
    cache_folder,
)
from domain.errors import SetupError

_DOWNLOAD_PAGE = "https://temporal.download/"
_REACH_SECONDS = 3.0
"""How long the download service may take to answer at all; closed networks must not cost more."""

_DOWNLOAD_SECONDS = 300.0
"""How long the SDK's download (about 50 MB) may take."""


def to_stderr(line: str) -> None:
    """Report one line of progress where it does not mix with output that programs read."""
    print(f"==> {line}", file=sys.stderr, flush=True)  # noqa: T201 - progress for who waits


async def download_with_sdk(folder: Path) -> None:
    """Let the SDK download the server it recommends; it also starts it, so stop that again."""
    from temporalio.testing import WorkflowEnvironment  # noqa: PLC0415 - 0.6 s, rarely needed

    with tempfile.TemporaryDirectory() as scratch:
        environment = await WorkflowEnvironment.start_local(
            download_dest_dir=str(folder),
            dev_server_database_filename=str(Path(scratch) / "unused.db"),
            dev_server_startup_timeout=timedelta(seconds=30),
        )
        with suppress(RuntimeError):
            await environment.shutdown()


@dataclass
class Search:
    """One search for a binary.

    Args:
        data_file: The file that will be served, for the messages.
        sidecar: What wrote that file, if it exists; then only that server version will do.
        report: Takes lines of progress.
        download_page: Where the SDK's download begins; asked first whether it answers at all.
        download: Puts a binary into a folder, or raises RuntimeError.
    """

    data_file: Path | None = None
    sidecar: Sidecar | None = None
    cache: Path = field(default_factory=cache_folder)
    report: Report = to_stderr
    download_page: str = _DOWNLOAD_PAGE
    download: Callable[[Path], Awaitable[None]] = download_with_sdk
    failures: list[str] = field(default_factory=list)
    other_version: Binary | None = None

    def find(self) -> Binary:
        """Return the first binary that is new enough and of the data file's version.

        Raises:
            SetupError: nothing was found, or as `at_hand`.
        """
        return self.at_hand() or self._download() or self._built()

    def at_hand(self) -> Binary | None:
        """Return such a binary if it is on this machine; download and build nothing.

        Raises:
            SetupError: `TEMPORAL_CLI_PATH` names no usable binary, or what was found cannot serve
                the data file: then `other_version` is what was found.
        """
        named = os.environ.get("TEMPORAL_CLI_PATH")
        if named:
            return self._named(Path(named))
        if self.sidecar:
            writer = Path(self.sidecar.binary)
            binary = self._judge("the one that wrote this data file", self.sidecar.writer(), writer)
            if binary:
                return binary
        for way, path in self._local_ways():
            binary = self._judge(way, probe(path), path)
            if binary:
                return binary
        # Another version at hand, and the pinned build would not be the right one either.
        if self.other_version and not self._wants(PINNED_SERVER):
            raise self._mismatch(self.other_version)
        return None

    def _wants(self, server_version: str) -> bool:
        return self.sidecar is None or self.sidecar.server_version == server_version

    def _named(self, path: Path) -> Binary:
        """Use what the person named or say why not: never something else instead."""
        binary = probe(path)
        if binary is None or not binary.is_new_enough():
            why = "does not run as `temporal`" if binary is None else _too_old(binary)
            raise SetupError(f"TEMPORAL_CLI_PATH names {path}, which {why}.")
        if not self._wants(binary.server_version):
            self.other_version = binary
            raise self._mismatch(binary)
        return binary

    def _local_ways(self) -> Iterator[tuple[str, Path]]:
        pinned = built_path(self.cache)
        yield "the cache folder", pinned
        for other in sorted((self.cache / "temporal").glob("*/temporal*"), reverse=True):
            if other != pinned and other.suffix != ".part":
                yield "the cache folder", other
        on_path = shutil.which("temporal")
        if on_path:
            yield "PATH", Path(on_path)
        else:
            self.failures.append("PATH: no `temporal` there")

    def _judge(self, way: str, binary: Binary | None, path: Path) -> Binary | None:
        if binary is None:
            why = "does not run" if path.exists() else "is not there"
            self.failures.append(f"{way}: {path} {why}")
        elif not binary.is_new_enough():
            self.failures.append(f"{way}: {path} {_too_old(binary)}")
        elif not self._wants(binary.server_version):
            self.other_version = self.other_version or binary
        else:
            return binary
        return None

    def _download(self) -> Binary | None:
        if not _is_reachable(self.download_page):
            self.failures.append(f"the SDK's download: {self.download_page} cannot be reached")
            return None
        self.report("downloading the Temporal dev server (about 50 MB, once per machine)")
        folder = self.cache / "temporal" / "downloaded"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            asyncio.run(asyncio.wait_for(self.download(folder), _DOWNLOAD_SECONDS))
        except (RuntimeError, TimeoutError) as error:
            self.failures.append(f"the SDK's download: {error or 'took too long'}")
            return None
        for path in folder.glob("temporal*"):
            binary = self._judge("the SDK's download", probe(path), path)
            if binary:
                return binary
        return None

    def _built(self) -> Binary:
        made = build(self.cache, self.report)
        if isinstance(made, BuildFailure):
            self.failures.append(f"a build: {made.reason}")
        else:
            binary = self._judge("a build", probe(made), made)
            if binary:
                return binary
        if self.other_version:
            raise self._mismatch(self.other_version)
        raise SetupError(
            "No Temporal dev server was found. Name a `temporal` binary with TEMPORAL_CLI_PATH, "
            "put one on PATH, open the SDK's download, install Go so that it can be built, or "
            "set TEMPORAL_ADDRESS to use a running server. Tried: " + "; ".join(self.failures) + "."
        )

    def _mismatch(self, binary: Binary) -> SetupError:
        assert self.sidecar is not None
        return SetupError(
            f"{self.data_file} was written by Temporal server {self.sidecar.server_version} and "
            f"{binary.path} is {binary.server_version}: name the first one with TEMPORAL_CLI_PATH, "
            "or start with --restart-unfinished, which keeps the old file and starts every open "
            "run again on a new one."
        )


def _too_old(binary: Binary) -> str:
    floor = ".".join(map(str, FLOOR))
    return f"holds server {binary.server_version}; {floor} or newer is needed"


def _is_reachable(url: str) -> bool:
    """Whether a service answers at all, within seconds even where name look-ups hang."""
    answers: list[bool] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=_REACH_SECONDS):  # noqa: S310 - a constant
                answers.append(True)
        except urllib.error.HTTPError:
            answers.append(True)
        except OSError:
            answers.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_REACH_SECONDS)
    return answers == [True]


def main() -> int:
    """Make sure that a server is at hand, and say which."""
    if os.environ.get("TEMPORAL_ADDRESS"):
        to_stderr("TEMPORAL_ADDRESS is set: no dev server is needed")
        return 0
    try:
        binary = Search().find()
    except SetupError as error:
        to_stderr(str(error))
        return 1
    to_stderr(f"Temporal server {binary.server_version}: {binary.path}")
    return 0


if __name__ == "__main__":
    leave(main())
