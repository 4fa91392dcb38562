"""What coverage loads in every process that it measures, those that tests start as well."""

from typing import Any

from tests.tracing import Tracing


def coverage_init(_registry: Any, _options: Any) -> None:
    """Leave the imports of other packages untraced: most of what a short process runs."""
    Tracing().sort_imports()
