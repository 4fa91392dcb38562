"""The dev server alone, as ours starts it: kept for roles apart, or timed for the start-up bar.

Speaks lines of JSON: `serve` starts it and tells its address, `time` starts and stops it on a data
file that exists and tells how long it took until it answered.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from bootstrap.devserver.server import DevServer, DevServerOptions


def _server(data_file: Path) -> DevServer:
    return DevServer(DevServerOptions(data_file=data_file, ui_port=0))


async def _time(data_file: Path) -> dict[str, Any]:
    server = _server(data_file)
    started = time.monotonic()
    await server.start()
    seconds = time.monotonic() - started
    await server.stop(timedelta(0))
    return {"seconds": seconds}


async def _serve(data_file: Path) -> None:
    kept: DevServer | None = None
    # The health check's imports are ours, not the server's.
    await _time(data_file)
    _say({"ready": True})
    while line := await asyncio.to_thread(sys.stdin.readline):
        if json.loads(line)["do"] == "time":
            _say(await _time(data_file))
            continue
        kept = _server(data_file)
        info = await kept.start()
        _say({"address": info.address, "pid": info.pid})
    if kept is not None:
        await kept.stop(timedelta(0))


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-file", required=True, type=Path)
    asyncio.run(_serve(parser.parse_args().data_file))
    os._exit(0)  # the interpreter may crash after the SDK was used: tests/exit_guard.py
