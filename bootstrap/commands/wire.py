"""What goes over the wire, as values. Imports no HTTP."""

from typing import Any
from urllib.parse import quote

Json = dict[str, Any]


def at(template: str, *ids: str) -> str:
    """Return a path with ids put in, each as one segment."""
    return template.format(*(quote(text, safe="") for text in ids))
