"""Frames survive the wire; anything else is refused."""

import pytest

from adapters.tools.frames import HEADER, pack, unpack


def test_frame_is_read_as_it_was_written() -> None:
    wire = pack({"kind": "result", "content": "é\n\0"})

    assert HEADER.unpack(wire[:4]) == (len(wire) - 4,)
    assert unpack(wire[4:]) == {"kind": "result", "content": "é\n\0"}


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{", b"\xff"])
def test_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own errors, of several texts
        unpack(body)
