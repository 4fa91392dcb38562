"""The `text` tool: what a model gets wrong when it counts letters itself. Source: seed C."""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from adapters.tools.decorator import tool
from domain.errors import ToolFailedError

MAX_TEXT_CHARACTERS = 100_000
MAX_PARTS = 10_000
"""Parts of a split that are answered."""

Operation = Literal[
    "uppercase",
    "lowercase",
    "title",
    "reverse",
    "count",
    "trim",
    "replace",
    "split",
    "contains",
    "word_count",
]
Text = Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS)]

_PLAIN: dict[str, Callable[[str], object]] = {
    "uppercase": str.upper,
    "lowercase": str.lower,
    "title": str.title,
    "trim": str.strip,
    "reverse": lambda text: text[::-1],
    "word_count": lambda text: len(text.split()),
}


@tool(name="text", blocking=False)
def text(
    operation: Operation, text: Text, search: Text | None = None, replacement: Text = ""
) -> dict[str, object]:
    """Transform, search or count in a text.

    Args:
        operation: count counts characters, or occurrences of search; split splits at search, or at
            white space.
        text: The text.
        search: What replace, contains, count and split look for.
        replacement: What replace puts in its place.
    """
    plain = _PLAIN.get(operation)
    if plain is not None:
        return {"result": plain(text)}
    if operation == "split":
        return _split(text, search)
    if operation == "count" and search is None:
        return {"result": len(text)}
    if not search:
        raise ToolFailedError(f"{operation} needs a search text")
    if operation == "contains":
        return {"result": search in text}
    if operation == "replace":
        return {"result": _replace(text, search, replacement)}
    return {"result": text.count(search)}


def _split(text: str, separator: str | None) -> dict[str, object]:
    parts = text.split(separator or None)
    return {"result": parts[:MAX_PARTS], "count": len(parts)}


def _replace(text: str, search: str, replacement: str) -> str:
    """Replace all, unless the result would be out of proportion."""
    size = len(text) + text.count(search) * (len(replacement) - len(search))
    if size > MAX_TEXT_CHARACTERS:
        raise ToolFailedError(f"the result would have {size} characters, over the limit")
    return text.replace(search, replacement)
