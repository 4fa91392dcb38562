"""Reading a reply's body without trusting its size. Knows no format."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator

import httpx2

from domain.errors import ReplyTooLargeError

PIECE_BYTES = 1 << 16
"""Most that one step of decompression may yield."""
_COMPRESSED = frozenset({"gzip", "x-gzip", "deflate"})
_ANY_HEADER = zlib.MAX_WBITS | 32
"""zlib recognises both formats by their header."""


class UnreadableBodyError(Exception):
    """The body's Content-Encoding is one we do not undo, or it is broken."""


async def bounded_chunks(response: httpx2.Response, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the decoded body of a streamed response in pieces.

    Raises:
        ReplyTooLargeError: more than `max_bytes`, before or after decoding.
        UnreadableBodyError: an encoding other than one of gzip and deflate, or broken data.
    """
    unpack = _unpacker(response)
    received = total = 0
    async for raw in response.aiter_raw():
        received += len(raw)
        # Compressed data may decode to nothing, for ever: what arrives counts as well.
        _require(received, max_bytes)
        for piece in unpack(raw):
            total += len(piece)
            _require(total, max_bytes)
            yield piece
            if total > received:
                # A small chunk may hold a thousand pieces: others have a turn between them.
                await asyncio.sleep(0)


async def read_at_most(response: httpx2.Response, max_bytes: int) -> tuple[bytes, bool]:
    """Return at most `max_bytes` of the decoded body's beginning, and whether there was more.

    Raises:
        UnreadableBodyError: as `bounded_chunks`.
    """
    body = bytearray()
    try:
        async for chunk in bounded_chunks(response, max_bytes):
            body += chunk
    except ReplyTooLargeError:
        return bytes(body), True
    return bytes(body), False


def _require(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise ReplyTooLargeError(f"the reply is larger than {max_bytes} bytes")


def _unpacker(response: httpx2.Response) -> "_Gunzip | _Plain":
    """Return what undoes the response's encoding.

    One encoding at most: stacked ones let a small reply cost seconds of CPU in the middle.
    """
    values = response.headers.get_list("content-encoding", split_commas=True)
    named = [value.strip().lower() for value in values if value.strip()]
    if not named or named == ["identity"]:
        return _Plain()
    if len(named) == 1 and named[0] in _COMPRESSED:
        return _Gunzip()
    raise UnreadableBodyError(f"content encoding {', '.join(named)[:100]!r} is not supported")


class _Plain:
    def __call__(self, raw: bytes) -> Iterator[bytes]:
        yield raw


class _Gunzip:
    """Decompresses in bounded pieces, so that a small input cannot fill the memory at once."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(_ANY_HEADER)

    def __call__(self, raw: bytes) -> Iterator[bytes]:
        try:
            while raw:
                if self._decoder.eof:
                    self._decoder = zlib.decompressobj(_ANY_HEADER)
                while piece := self._decoder.decompress(raw, PIECE_BYTES):
                    yield piece
                    raw = self._decoder.unconsumed_tail
                raw = self._decoder.unused_data
        except zlib.error as error:
            raise UnreadableBodyError(f"the body cannot be decoded: {error}") from error
