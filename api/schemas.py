"""JSON Schemas that callers send: small, of objects, and checkable where we check by them."""

from typing import Annotated, Any

from pydantic import Field
from pydantic_core import PydanticCustomError

from domain.event import encode_json
from domain.jsonschema import unchecked

HostId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
_MOST_BYTES = 64 * 1024


def no_parameters() -> dict[str, Any]:
    """Return the schema of a tool that takes no arguments."""
    return {"type": "object", "properties": {}}


def object_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Refuse what is no schema of an object: no model provider would take it."""
    if schema.get("type", "object") != "object":
        raise PydanticCustomError("object_schema", "the arguments of a tool are an object")
    _check_size(schema)
    return {"type": "object", "properties": {}, **schema}


def checkable_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Refuse keywords that we would not check: a result must not seem to be checked."""
    _check_size(schema)
    words = unchecked(schema)
    if words:
        sentence = "keywords that are not checked here: {words}"
        raise PydanticCustomError("schema_keywords", sentence, {"words": ", ".join(words)[:500]})
    return schema


def _check_size(schema: dict[str, Any]) -> None:
    if len(encode_json(schema)) > _MOST_BYTES:
        raise PydanticCustomError("schema_size", "a schema has at most 64 KiB")


def each_once(names: list[str]) -> list[str]:
    """Refuse tools that are named twice: providers refuse a request with two of one name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"named twice: {', '.join(twice)}")
    return names
