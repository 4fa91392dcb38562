"""Regular expressions that are compiled when they are first used, not when a module is imported."""

import re
from typing import cast


class _Late:
    def __init__(self, source: str, flags: int) -> None:
        self._source = source
        self._flags = flags

    def __getattr__(self, name: str) -> object:
        # Asked for once: from then on it is the instance's own.
        found: object = getattr(re.compile(self._source, self._flags), name)
        setattr(self, name, found)
        return found


def late_pattern(source: str, flags: int = 0) -> re.Pattern[str]:
    """Return what `re.compile` would; one that is wrong raises `re.error` at its first use."""
    return cast("re.Pattern[str]", _Late(source, flags))
