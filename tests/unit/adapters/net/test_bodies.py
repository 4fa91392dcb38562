"""A reply's body is read up to a limit, counted after decompression."""

import gzip
import zlib
from collections.abc import AsyncIterator

import httpx2
import pytest

from adapters.net.bodies import UnreadableBodyError, bounded_chunks, read_at_most
from domain.errors import ReplyTooLargeError


class Trickle(httpx2.AsyncByteStream):
    """Hands out pieces, and remembers how many were taken."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            self.taken += 1
            yield piece


def reply(stream: Trickle, encoding: str = "") -> httpx2.Response:
    return httpx2.Response(200, headers={"content-encoding": encoding}, stream=stream)


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "x-gzip", "GZIP", "deflate"])
async def test_body_is_decoded(encoding: str) -> None:
    packed = {"": b"hello", "identity": b"hello", "deflate": zlib.compress(b"hello")}
    sent = packed.get(encoding, gzip.compress(b"hello"))

    body, is_cut = await read_at_most(reply(Trickle(sent), encoding), 100)

    assert (body, is_cut) == (b"hello", False)


async def test_reading_stops_at_the_limit() -> None:
    stream = Trickle(*[b"x" * 10] * 1000)

    body, is_cut = await read_at_most(reply(stream), 25)

    assert (body, is_cut) == (b"x" * 20, True)
    assert stream.taken == 3


async def test_body_split_at_every_byte_and_in_several_members_is_whole() -> None:
    packed = gzip.compress(b"hello ") + gzip.compress(b"world")
    stream = Trickle(*[packed[i : i + 1] for i in range(len(packed))])

    assert await read_at_most(reply(stream, "gzip"), 100) == (b"hello world", False)


async def test_gzip_bomb_is_cut_after_decompression_of_about_the_limit() -> None:
    bomb = gzip.compress(bytes(50 << 20))
    seen = 0

    with pytest.raises(ReplyTooLargeError, match="3000000 bytes"):  # noqa: PT012 - it is a loop
        async for chunk in bounded_chunks(reply(Trickle(bomb), "gzip"), 3_000_000):
            seen += len(chunk)

    assert len(bomb) < 100_000
    assert seen <= 3_000_000


async def test_bytes_that_decode_to_nothing_count_too() -> None:
    """Empty gzip blocks for ever cost the network and the CPU, and never yield a byte."""
    header, empty_block = gzip.compress(b"")[:10], b"\x00\x00\x00\xff\xff"
    stream = Trickle(header, *[empty_block] * 10_000)

    assert await read_at_most(reply(stream, "gzip"), 1000) == (b"", True)
    assert stream.taken < 250


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "gzip, br", "made-up"])
async def test_other_and_stacked_encodings_are_refused_unread(encoding: str) -> None:
    stream = Trickle(b"x")

    with pytest.raises(UnreadableBodyError, match="not supported"):
        await read_at_most(reply(stream, encoding), 100)
    assert stream.taken == 0


async def test_broken_compression_is_named() -> None:
    with pytest.raises(UnreadableBodyError, match="cannot be decoded"):
        await read_at_most(reply(Trickle(b"not gzip"), "gzip"), 100)
