"""What a tool's docstring tells a model: its first paragraph, and its arguments' descriptions."""

import inspect
import re

_SECTION = re.compile(r"^(Args|Arguments|Returns|Raises|Yields|Examples?|Notes?):\s*$")
_ARGUMENT = re.compile(r"^(?P<name>\w+)(?:\s*\([^)]*\))?:\s*(?P<text>.*)$")


def summary(text: str) -> str:
    """Return the first paragraph as one line."""
    return " ".join(inspect.cleandoc(text).split("\n\n", 1)[0].split())


def argument_texts(text: str) -> dict[str, str]:
    """Return the description of each argument in the Google `Args:` section."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    inside = False
    margin: int | None = None
    for line in inspect.cleandoc(text).splitlines():
        if _SECTION.match(line):
            inside = line.startswith("Arg")
            continue
        if not inside or not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        margin = indent if margin is None else margin
        match = _ARGUMENT.match(line.strip()) if indent == margin else None
        if match:
            current = found.setdefault(match["name"], [])
        current.append(match["text"] if match else line.strip())
    return {name: " ".join(parts).strip() for name, parts in found.items()}
