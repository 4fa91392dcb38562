"""What every list in memory does: it comes in pages, and shows an owner its own."""

from collections.abc import Sequence
from typing import TypeVar

from domain.acceptance import Page

T = TypeVar("T")


def paged(items: Sequence[T], page: Page) -> tuple[list[T], str | None]:
    start = int(page.cursor) if page.cursor and page.cursor.isdigit() else 0
    end = start + page.limit
    return list(items[start:end]), str(end) if end < len(items) else None


def sees(owner: str | None, owned_by: str | None) -> bool:
    return owner is None or owned_by is None or owner == owned_by
