"""The part of JSON Schema that arguments and results are checked by."""

from typing import Any

import pytest

from domain.jsonschema import problems, unchecked

FITS: list[tuple[dict[str, Any], object, bool]] = [
    ({}, {"any": 1}, True),
    ({"type": "object"}, {}, True),
    ({"type": "object"}, [], False),
    ({"type": "array"}, [], True),
    ({"type": "string"}, 1, False),
    ({"type": "null"}, None, True),
    ({"type": "boolean"}, 1, False),
    ({"type": "number"}, True, False),
    ({"type": "number"}, 1.5, True),
    ({"type": "number"}, float("nan"), False),
    ({"type": "integer"}, 2.0, True),
    ({"type": "integer"}, 2.5, False),
    ({"type": "integer"}, 10**400, True),
    ({"type": ["string", "null"]}, None, True),
    ({"type": ["string", "null"]}, 1, False),
    ({"enum": [1, "a"]}, "a", True),
    ({"enum": [1]}, True, False),
    ({"const": 3}, 3, True),
    ({"const": 3}, 4, False),
    ({"required": ["a"]}, {"a": 1}, True),
    ({"properties": {"a": {}}, "additionalProperties": {"type": "null"}}, {"a": 1}, True),
    ({"properties": {"a": {}}, "additionalProperties": {"type": "null"}}, {"b": 1}, False),
    ({"required": ["a"]}, {}, False),
    ({"required": ["a"]}, "not an object", True),
    ({"properties": {"a": {"type": "string"}}}, {"a": 1}, False),
    ({"properties": {"a": {"type": "string"}}}, {"b": 1}, True),
    ({"properties": {"a": {}}, "additionalProperties": False}, {"b": 1}, False),
    ({"additionalProperties": {"type": "string"}}, {"b": "x"}, True),
    ({"items": {"type": "string"}}, ["a", 1], False),
    ({"items": {"type": "string"}}, ["a"], True),
    ({"properties": {"a": False}}, [1], True),
    ({"additionalProperties": False}, [1], True),
    ({"items": False}, {"a": 1}, True),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, True),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1, False),
    ({"oneOf": [{"type": "number"}, {"minimum": 3}]}, 5, False),
    ({"oneOf": [{"type": "number"}, {"minimum": 3}]}, 1, True),
    ({"allOf": [{"type": "number"}, {"minimum": 3}]}, 1, False),
    ({"not": {"type": "string"}}, "a", False),
    ({"not": {"type": "string"}}, 1, True),
    ({"pattern": "^a+$"}, "aaa", True),
    ({"pattern": "^a+$"}, "b", False),
    ({"pattern": "^a+$"}, 1, True),
    ({"minimum": 1}, 1, True),
    ({"minimum": 1}, 0, False),
    ({"minimum": 1}, "0", True),
    ({"maximum": 1}, 2, False),
    ({"exclusiveMinimum": 1}, 1, False),
    ({"exclusiveMaximum": 1}, 1, False),
    ({"minLength": 2}, "a", False),
    ({"maxLength": 2}, "abc", False),
    ({"minItems": 1}, [], False),
    ({"maxItems": 1}, [1, 2], False),
    ({"minProperties": 1}, {}, False),
    ({"maxProperties": 1}, {"a": 1, "b": 2}, False),
    ({"type": "strange"}, 1, True),
    ({"madeUp": 1}, 1, True),
]


@pytest.mark.parametrize(("schema", "value", "is_fine"), FITS)
def test_a_value_fits_or_is_told_why_not(
    schema: dict[str, Any], value: object, is_fine: bool
) -> None:
    assert (problems(schema, value) == []) == is_fine


def test_a_problem_names_its_place() -> None:
    schema = {"properties": {"a": {"items": {"type": "string"}}}}

    assert problems(schema, {"a": ["x", 1]}) == ["value.a[1] is not of type string"]


def test_schemas_may_be_true_or_false() -> None:
    assert problems(True, 1) == []
    assert problems(False, 1) == ["value is not allowed"]


def test_only_the_first_problems_are_told() -> None:
    assert len(problems({"items": {"type": "string"}}, [1] * 100)) == 10


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "object", "title": "x", "properties": {"a": {"format": "date"}}}, []),
        (True, []),
        ({"$ref": "#/x"}, ["$ref"]),
        ({"items": {"if": {}}}, ["if"]),
        ({"anyOf": [{"dependentRequired": {}}]}, ["dependentRequired"]),
        ({"additionalProperties": {"contains": {}}}, ["contains"]),
        ({"minLength": "2"}, ["minLength (its form)"]),
        ({"pattern": "("}, ["pattern (its form)"]),
        ({"type": "strange"}, ["type (its form)"]),
        ({"properties": {"a": 1}}, ["properties (its form)"]),
        ({"not": {"x": 1}}, ["x"]),
        ([], ["a schema is an object"]),
    ],
)
def test_keywords_that_would_not_be_checked_are_named(schema: object, words: list[str]) -> None:
    assert unchecked(schema) == words
