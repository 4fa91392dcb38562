"""Pages of lists: filters, and opaque cursors that hold the sort key of the last entry shown.

Nothing in a cursor is trusted: it only ever becomes bound parameters beside the owner filter.
"""

import base64
import binascii
import json
from collections.abc import Sequence

from adapters.store.database.tx import Row, Tx
from domain.acceptance import Page
from domain.errors import InvalidRequestError
from domain.event import encode_json

Key = tuple[object, ...]

_INT64 = 2**63 - 1


def encode_cursor(key: Sequence[object]) -> str:
    """Return the cursor that stands for a sort key of numbers and strings."""
    return base64.urlsafe_b64encode(encode_json(list(key)).encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, *kinds: type) -> Key | None:
    """Return the sort key in a cursor, None for the first page.

    Raises:
        InvalidRequestError: this list never gave out such a cursor.
    """
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        key = None
    if isinstance(key, list) and _fits(key, kinds):
        return tuple(key)
    raise InvalidRequestError("the cursor is not one of this list; leave it out to start again")


def _fits(key: list[object], kinds: tuple[type, ...]) -> bool:
    return len(key) == len(kinds) and all(
        type(value) is kind and not (isinstance(value, int) and abs(value) > _INT64)
        for value, kind in zip(key, kinds, strict=True)
    )


def cut(rows: Sequence[Row], page: Page, *columns: str) -> tuple[Sequence[Row], str | None]:
    """Return a page of `rows` and the next cursor; a row past the limit says that there is more."""
    shown = rows[: page.limit]
    if len(rows) <= page.limit:
        return shown, None
    return shown, encode_cursor([shown[-1][column] for column in columns])


def where(conditions: dict[str, object]) -> tuple[str, dict[str, object]]:
    """Return a WHERE clause over the conditions that are not None, and its parameters.

    The names are columns, written in this package; the values only ever become parameters.
    """
    params = {name: value for name, value in conditions.items() if value is not None}
    clause = " AND ".join(f"{name} = :{name}" for name in params)
    return (f" WHERE {clause}" if clause else ""), params


def newest_first(
    tx: Tx, table: str, conditions: dict[str, object], page: Page, *ids: str
) -> tuple[Sequence[Row], str | None]:
    """Return a page of `table` and the next cursor; `ids` tell rows of the same moment apart.

    Raises:
        InvalidRequestError: the cursor is malformed.
    """
    clause, params = where(conditions)
    key = ("created_at", *ids)
    after = decode_cursor(page.cursor, int, *(str for _ in ids))
    if after is not None:
        marks = {f"after{i}": value for i, value in enumerate(after)}
        clause += " AND " if clause else " WHERE "
        clause += f"({', '.join(key)}) < ({', '.join(f':{mark}' for mark in marks)})"
        params |= marks
    rows = tx.all(
        f"SELECT * FROM {table}{clause} ORDER BY {', '.join(f'{name} DESC' for name in key)}"
        " LIMIT :most",
        **params,
        most=page.limit + 1,
    )
    return cut(rows, page, *key)


def listed(values: Sequence[object]) -> tuple[str, dict[str, object]]:
    """Return what stands between the brackets of `IN (...)`, and its parameters."""
    params = {f"one{number}": value for number, value in enumerate(values)}
    return ", ".join(f":{name}" for name in params), params
