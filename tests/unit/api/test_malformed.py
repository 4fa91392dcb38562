"""What is no HTTP is answered in the API's own shapes, and says what is wrong and where."""

import asyncio
import json
from typing import Any

import pytest

from api.app import create_app
from api.server import ApiProtocol
from tests.fakes.world import World, fake_config
from tests.rig.serving import serving

HOST = b" HTTP/1.1\r\nhost: localhost\r\n"


class Impatient(ApiProtocol):
    header_seconds = 0.2


async def _said(world: World, sent: bytes) -> tuple[dict[str, str], Any]:
    """Send bytes; return the head and the body of the answer, after which the connection ends."""
    async with serving(create_app(world.ports(), fake_config()), Impatient) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 3)
        writer.close()
    head, _, body = answer.decode().partition("\r\n\r\n")
    lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
    assert int(lines["content-length"]) == len(body)
    return lines, json.loads(body)


@pytest.mark.parametrize(
    ("sent", "status", "field"),
    [
        (b"FOO /v1/runs" + HOST + b"\r\n", 400, "method"),
        (b"\x16\x03\x01\x02\x00", 400, "method"),
        (b"POST /v1/runs" + HOST + b"Content-Length: -1\r\n\r\n", 400, "headers.content-length"),
        (
            b"POST /v1/runs" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "headers.content-length",
        ),
        (b"GET /v1/runs" + HOST + b"x: a\x01b\r\n\r\n", 400, "headers"),
        (b"GET /v1/\xff" + HOST + b"\r\n", 400, "target"),
        (b"GET http://[/" + HOST + b"\r\n", 400, "target"),
        (b"GET /v1/runs HTTP/9.1\r\n\r\n", 400, "request"),
        (b"GET /v1/runs" + HOST + b"x: y\r\n" * 101 + b"\r\n", 431, "headers"),
        (b"GET /v1/runs" + HOST + b"x: " + b"y" * 40_000, 431, "headers"),
        (b"GET /v1/runs" + HOST, 408, "headers"),
    ],
)
async def test_what_is_no_request_is_told_what_and_where(
    world: World, sent: bytes, status: int, field: str
) -> None:
    head, said = await _said(world, sent)

    assert head["content-type"] == "application/problem+json"
    assert (head["connection"], head["x-content-type-options"]) == ("close", "nosniff")
    assert said["status"] == status
    assert said["request_id"] == head["x-request-id"]
    assert [error["field"] for error in said["errors"]] == [field]
    assert said["errors"][0]["message"]


async def test_it_is_told_in_the_shape_of_its_path(world: World) -> None:
    _, seed = await _said(world, b"GET /api/agents" + HOST + b"x: a\x01b\r\n\r\n")
    _, openai = await _said(world, b"GET /v1/models?x=1" + HOST + b"x: a\x01b\r\n\r\n")

    assert seed["error"]["code"] == "malformed_request"
    assert openai["error"]["type"] == "invalid_request_error"


async def test_an_answer_that_has_begun_is_not_written_into(world: World) -> None:
    """Garbage behind the request of a stream ends the connection, and adds nothing to it."""
    stream = b"POST /v1/runs" + HOST + b"accept: text/event-stream\r\n"
    stream += b"content-type: application/json\r\ncontent-length: 13\r\n\r\n" + b'{"input":"x"}'
    world.gateway.mode = "hold"
    async with serving(create_app(world.ports(), fake_config())) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(stream)
        first = await asyncio.wait_for(reader.readuntil(b"user_input"), 3)
        writer.write(b"\x16\x03\x01\x02\x00")
        rest = await asyncio.wait_for(reader.read(), 3)
        writer.close()

    assert first.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 400" not in rest
    assert len(world.runs.accepted) == 1
