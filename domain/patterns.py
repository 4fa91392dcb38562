"""Regular expressions of strangers: linear in the text (Rust's `regex`), whatever they are."""

from functools import lru_cache
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter, ValidationError
from pydantic_core import SchemaError


@lru_cache(maxsize=1000)
def _pattern(pattern: str) -> TypeAdapter[str]:
    return TypeAdapter(Annotated[str, StringConstraints(pattern=pattern)])


def is_pattern(text: str) -> bool:
    """Say whether `text` is a regular expression that can be used."""
    try:
        _pattern(text)
    except SchemaError:
        return False
    return True


def is_found(pattern: str, text: str) -> bool:
    """Say whether a pattern is found anywhere in a text."""
    try:
        _pattern(pattern).validate_python(text)
    except ValidationError:
        return False
    return True
