"""Messages between a worker and a tool's process: four bytes of length, then JSON.

    worker                            child
    {target, invocation, max_bytes} ->
                                    <- {"kind": "ready"}, or why it cannot run
    {"go": true}                    ->
                                    <- {"kind": "result", "content"}, or how it failed

Until `go` is sent nothing has happened, whatever dies: only then does the tool run.
"""

import json
import struct
from typing import Any

HEADER = struct.Struct(">I")
Frame = dict[str, Any]


def pack(frame: Frame) -> bytes:
    """Return `frame` as bytes for the wire."""
    body = json.dumps(frame, separators=(",", ":")).encode()
    return HEADER.pack(len(body)) + body


def unpack(body: bytes) -> Frame:
    """Return the frame whose JSON is `body`.

    Raises:
        ValueError: not a JSON object.
    """
    frame = json.loads(body)
    if not isinstance(frame, dict):
        raise ValueError("a frame is a JSON object")  # noqa: TRY004 - what arrived, not a type of ours
    return frame
