"""Text of strangers made safe for a log line or a terminal."""

import re

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Control characters, line and paragraph separators, marks that turn the direction of text."""

_MISLEADING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Of these, what no name of any script needs: joiners and marks of direction are left."""


def misleads(text: str) -> bool:
    """Say whether a name holds what breaks a line or turns the direction of the text around it."""
    return _MISLEADING.search(text) is not None


def printable(text: str, most: int = 200) -> str:
    r"""Return `text` on one line, cut at `most` characters, its unsafe characters as `\uXXXX`."""
    cut = text if len(text) <= most else text[:most] + "..."
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", cut)
