"""Checks JSON values against the part of JSON Schema that tools use. Pure; resolves no references.

Source: JSON Schema 2020-12, validation vocabulary.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from domain.patterns import is_found, is_pattern

_MAX_PROBLEMS = 10
_NOTES = frozenset(
    {
        *("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"),
        *("format", "$schema", "$id", "$comment", "contentEncoding", "contentMediaType"),
    }
)
"""Keywords that say nothing about whether a value fits."""


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    return _is_number(value) and (isinstance(value, int) or float(str(value)).is_integer())


_TYPES: dict[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": _is_integer,
}
Schema = Mapping[str, Any] | bool
Found = Iterator[str]


def problems(schema: Schema, value: object) -> list[str]:
    """Return what is wrong with a value, each with its place; keywords not known here pass."""
    found = _check(schema, value, "value")
    return [problem for problem, _ in zip(found, range(_MAX_PROBLEMS), strict=False)]


def unchecked(schema: object) -> list[str]:
    """Return the keywords of a schema that `problems` would not check, or whose form is wrong."""
    return sorted(set(_unchecked(schema)))


def has_form(word: str, rule: object) -> bool | None:
    """Whether a keyword's own value has the form that it needs; None: the word is not known."""
    return _FORMS[word](rule) if word in _FORMS else None


def _unchecked(schema: object) -> Found:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        yield "a schema is an object"
        return
    for word, rule in schema.items():
        if word in _NOTES:
            continue
        if word not in _RULES:
            yield str(word)
        elif not _FORMS[word](rule):
            yield f"{word} (its form)"
        else:
            for part in _parts(word, rule):
                yield from _unchecked(part)


def _parts(word: str, rule: Any) -> list[Any]:  # noqa: ANN401 - any JSON
    """Return the schemas inside a keyword."""
    match word:
        case "properties":
            return list(rule.values())
        case "items" | "additionalProperties" | "not":
            return [rule]
        case "anyOf" | "oneOf" | "allOf":
            return list(rule)
    return []


def _check(schema: Schema, value: object, at: str) -> Found:
    if isinstance(schema, bool):
        if not schema:
            yield f"{at} is not allowed"
        return
    for word, rule in schema.items():
        rules = _RULES.get(word)
        if rules is not None and _FORMS[word](rule):
            yield from rules(schema, value, at)


def _type(schema: Mapping[str, Any], value: object, at: str) -> Found:
    wanted = schema["type"]
    names = [wanted] if isinstance(wanted, str) else wanted
    if not any(_TYPES[name](value) for name in names):
        yield f"{at} is not of type {' or '.join(names)}"


def _same(one: object, other: object) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _enum(schema: Mapping[str, Any], value: object, at: str) -> Found:
    if not any(_same(value, one) for one in schema["enum"]):
        yield f"{at} is none of the values allowed"


def _const(schema: Mapping[str, Any], value: object, at: str) -> Found:
    if not _same(value, schema["const"]):
        yield f"{at} is not the value required"


def _required(schema: Mapping[str, Any], value: object, at: str) -> Found:
    if isinstance(value, dict):
        for name in schema["required"]:
            if name not in value:
                yield f"{at} lacks {name}"


def _properties(schema: Mapping[str, Any], value: object, at: str) -> Found:
    if isinstance(value, dict):
        for name, part in schema["properties"].items():
            if name in value:
                yield from _check(part, value[name], f"{at}.{name}")


def _additional(schema: Mapping[str, Any], value: object, at: str) -> Found:
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for name in value:
            if name not in known:
                yield from _check(schema["additionalProperties"], value[name], f"{at}.{name}"[:200])


def _items(schema: Mapping[str, Any], value: object, at: str) -> Found:
    if isinstance(value, list):
        for place, item in enumerate(value):
            yield from _check(schema["items"], item, f"{at}[{place}]")


def _any_of(schema: Mapping[str, Any], value: object, at: str) -> Found:
    if not any(_fits(part, value) for part in schema["anyOf"]):
        yield f"{at} fits none of the forms allowed"


def _one_of(schema: Mapping[str, Any], value: object, at: str) -> Found:
    if sum(_fits(part, value) for part in schema["oneOf"]) != 1:
        yield f"{at} does not fit exactly one of the forms allowed"


def _all_of(schema: Mapping[str, Any], value: object, at: str) -> Found:
    for part in schema["allOf"]:
        yield from _check(part, value, at)


def _not(schema: Mapping[str, Any], value: object, at: str) -> Found:
    if _fits(schema["not"], value):
        yield f"{at} has a form that is not allowed"


def _fits(schema: Schema, value: object) -> bool:
    return next(_check(schema, value, ""), None) is None


def _pattern(schema: Mapping[str, Any], value: object, at: str) -> Found:
    if isinstance(value, str) and not is_found(schema["pattern"], value):
        yield f"{at} does not match the pattern"


def _bound(
    word: str, measure: Callable[[Any], Any], holds: Callable[[Any, Any], bool], kind: type
) -> Callable[[Mapping[str, Any], object, str], Found]:
    """Return the rule that compares a measure of numbers, texts, lists or objects."""

    def check(schema: Mapping[str, Any], value: object, at: str) -> Found:
        applies = _is_number(value) if kind is float else isinstance(value, kind)
        if applies and not holds(measure(value), schema[word]):
            yield f"{at} breaks {word} {schema[word]}"

    return check


def _at_least(one: Any, other: Any) -> bool:  # noqa: ANN401 - numbers
    return bool(one >= other)


def _at_most(one: Any, other: Any) -> bool:  # noqa: ANN401 - numbers
    return bool(one <= other)


def _itself(value: Any) -> Any:  # noqa: ANN401 - a number
    return value


def _is_schema(rule: object) -> bool:
    return isinstance(rule, (bool, Mapping))


def _is_schemas(rule: object) -> bool:
    return isinstance(rule, list) and bool(rule) and all(map(_is_schema, rule))


def _is_types(rule: object) -> bool:
    names = [rule] if isinstance(rule, str) else rule
    return isinstance(names, list) and all(isinstance(n, str) and n in _TYPES for n in names)


_RULES: dict[str, Callable[[Mapping[str, Any], object, str], Found]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "allOf": _all_of,
    "not": _not,
    "pattern": _pattern,
    "minimum": _bound("minimum", _itself, _at_least, float),
    "maximum": _bound("maximum", _itself, _at_most, float),
    "exclusiveMinimum": _bound("exclusiveMinimum", _itself, lambda a, b: a > b, float),
    "exclusiveMaximum": _bound("exclusiveMaximum", _itself, lambda a, b: a < b, float),
    "minLength": _bound("minLength", len, _at_least, str),
    "maxLength": _bound("maxLength", len, _at_most, str),
    "minItems": _bound("minItems", len, _at_least, list),
    "maxItems": _bound("maxItems", len, _at_most, list),
    "minProperties": _bound("minProperties", len, _at_least, dict),
    "maxProperties": _bound("maxProperties", len, _at_most, dict),
}
_FORMS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(_RULES, _is_number),
    "type": _is_types,
    "enum": lambda rule: isinstance(rule, list),
    "const": lambda _rule: True,
    "required": lambda rule: isinstance(rule, list) and all(isinstance(n, str) for n in rule),
    "properties": lambda rule: isinstance(rule, Mapping) and all(map(_is_schema, rule.values())),
    "additionalProperties": _is_schema,
    "items": _is_schema,
    "anyOf": _is_schemas,
    "oneOf": _is_schemas,
    "allOf": _is_schemas,
    "not": _is_schema,
    "pattern": lambda rule: isinstance(rule, str) and is_pattern(rule),
}
"""What each keyword's own value has to look like; one that does not is not applied."""
