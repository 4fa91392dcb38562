"""Answers on stdout: JSON for programs, aligned columns for people."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bootstrap.terminal import harmless, note, out, paint

Rows = Sequence[Mapping[str, Any]]
_NARROWEST = 12
_GAP = "  "


def out_json(value: object) -> None:
    """Print a value as JSON that people can read too."""
    out(json.dumps(value, indent=2, ensure_ascii=False))


def out_list(rows: Rows, columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """Print rows as JSON, or `columns` of them as a table; `empty` is said when there are none."""
    if as_json:
        out_json(list(rows))
    elif not rows:
        note(empty)
    else:
        out(table(rows, columns, shutil.get_terminal_size((160, 24)).columns))


def out_object(
    value: Mapping[str, Any], *, as_json: bool, plain: Callable[[str], str] = harmless
) -> None:
    """Print one object as JSON, or a line per field that `plain` has made harmless."""
    if as_json:
        out_json(value)
        return
    width = max((len(key) for key in value), default=0)
    for key, item in value.items():
        label = paint(f"{key:{width}}", "dim", sys.stdout)
        out(f"{label}{_GAP}{plain(_cell(item))}")


def table(rows: Rows, columns: Sequence[str], width: int) -> str:
    """Return a table no wider than `width`, as far as its last column can be cut."""
    cells = [[_line(_cell(row.get(column))) for column in columns] for row in rows]
    widths = [
        max(len(column), *(len(line[at]) for line in cells)) for at, column in enumerate(columns)
    ]
    before = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
    widths[-1] = min(widths[-1], max(width - before, _NARROWEST))
    head = _GAP.join(
        _cut(column.upper(), size) for column, size in zip(columns, widths, strict=True)
    )
    lines = [paint(head.rstrip(), "dim", sys.stdout)]
    for line in cells:
        parts = (_cut(cell, size) for cell, size in zip(line, widths, strict=True))
        lines.append(_GAP.join(parts).rstrip())
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value) or "-"
    return json.dumps(value, ensure_ascii=False)


def _line(text: str) -> str:
    return harmless(" ".join(text.split()))


def _cut(text: str, width: int) -> str:
    return f"{text:{width}}" if len(text) <= width else text[: width - 3] + "..."
