"""Text of strangers made safe for a log line or a terminal."""

import re

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Control characters, line and paragraph separators, marks that turn the direction of text."""


def printable(text: str, most: int = 200) -> str:
    r"""Return `text` on one line, cut at `most` characters, its unsafe characters as `\uXXXX`."""
    cut = text if len(text) <= most else text[:most] + "..."
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", cut)
