"""Schemas of arguments that are none are found, with their place; those of others pass."""

from typing import Any

import pytest

from domain.malformed import broken_arguments

BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"properties": {"a": {"type": "nope"}}}, "properties.a.type"),
    ({"properties": {"a": {"pattern": "["}}}, "properties.a.pattern"),
    ({"properties": {"a": {"items": {"pattern": 7}}}}, "properties.a.items.pattern"),
    ({"properties": {"a": {"anyOf": [{}, {"enum": 1}]}}}, "properties.a.anyOf[1].enum"),
    ({"properties": {"a": "string"}}, "properties.a is no schema"),
    ({"properties": []}, "properties"),
    ({"properties": {"a": {"items": 7}}}, "properties.a.items"),
    ({"properties": {"a": {"oneOf": []}}}, "properties.a.oneOf"),
    ({"properties": {"a": {"minLength": "3"}}}, "properties.a.minLength"),
    ({"required": "a"}, "required"),
    ({"$defs": {"x": {"type": "nope"}}}, "$defs.x.type"),
    ({"$ref": "#/$defs/x", "$defs": {"x": {}}}, "$ref cannot stand at the top"),
    ({"a": {"type": "string"}}, "a is no keyword"),
]
SOUND: list[dict[str, Any]] = [
    {},
    {"type": "object", "properties": {}},
    {"properties": {"type": {"type": "string"}, "$ref": {"type": "string"}}},
    {"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": ["string", "null"]}}},
    {"properties": {"a": {"pattern": r"^(?!\.)a(?<=a)$"}, "b": {"pattern": r"\p{L}+"}}},
    {"properties": {"a": {"items": [{"type": "string"}], "exclusiveMinimum": True}}},
    {"properties": {"a": True}, "additionalProperties": False, "format": "x", "x-a": {"type": 1}},
    {"properties": {"a": {"uniqueItems": True, "prefixItems": [{}], "multipleOf": 2}}},
    {"if": {"type": "object"}, "then": {"type": "object"}, "examples": [{"type": 1}]},
    {"discriminator": {"propertyName": "kind"}, "nullable": True},
]


@pytest.mark.parametrize(("schema", "place"), BROKEN)
def test_what_is_broken_is_named_with_its_place(schema: dict[str, Any], place: str) -> None:
    (said,) = broken_arguments(schema)

    assert said.startswith(place)


@pytest.mark.parametrize("schema", SOUND)
def test_what_others_may_know_passes(schema: dict[str, Any]) -> None:
    assert broken_arguments(schema) == []


def test_only_so_much_is_said() -> None:
    schema = {"properties": {f"a{n}": {"type": "nope"} for n in range(100)}}

    assert len(broken_arguments(schema)) == 10
