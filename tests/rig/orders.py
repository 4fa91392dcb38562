"""What the nursery is asked for, and how: three descriptors with a byte, then one line of JSON."""

import json
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Order:
    """An `orchestrator` command: what its process is given, besides its streams."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    umask: int
    new_session: bool


def send(line: socket.socket, order: Order, streams: Sequence[int]) -> None:
    """Ask for a process with these as its stdin, stdout and stderr."""
    socket.send_fds(line, [b"\n"], streams)
    line.sendall(json.dumps(asdict(order)).encode() + b"\n")


def receive(line: socket.socket) -> tuple[Order, list[int]]:
    """Return what is asked for, and copies of the three streams."""
    _, streams, _, _ = socket.recv_fds(line, 1, 3)
    with line.makefile("rb") as lines:
        return Order(**json.loads(lines.readline())), streams
