"""Where a JSON Schema is broken: not what it says of values, but what is no schema at all.

For schemas that others check too, as a model's provider does with a tool's arguments: keywords that
are not known here, and regular expressions of other dialects, pass.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from domain.jsonschema import has_form

_MOST = 10
_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf"})
_SINGLE = frozenset({"items", "additionalProperties", "not"})
_OLD = {"items": list, "exclusiveMinimum": bool, "exclusiveMaximum": bool}
"""Forms of earlier drafts."""
_NOT_HERE = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})

Places = Iterator[str]


def broken_arguments(schema: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the schema of a tool's arguments, each with its place."""
    found = [*_top(schema), *_broken(schema, "")]
    return [problem.removeprefix(".") for problem in found[:_MOST]]


def _top(schema: Mapping[str, Any]) -> Places:
    for word, rule in schema.items():
        if word in _NOT_HERE:
            yield f"{word} cannot stand at the top: write the object itself there"
        elif _is_misplaced(word, rule):
            yield f"{word} is no keyword: an argument goes into `properties`"


def _is_misplaced(word: str, rule: object) -> bool:
    return (
        isinstance(rule, Mapping)
        and "type" in rule
        and has_form(word, rule) is None
        and word not in _OTHERS
        and not word.startswith(("$", "x-"))
    )


_OTHERS = _BY_NAME | {
    *("if", "then", "else", "contains", "propertyNames", "additionalItems", "contentSchema"),
    *("unevaluatedItems", "unevaluatedProperties", "default", "example", "examples"),
    *("dependentSchemas", "dependencies"),
}
"""Keywords that are not checked here, and whose value may be an object."""


def _broken(schema: object, at: str) -> Places:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        yield f"{at} is no schema: that is an object"
        return
    for word, rule in schema.items():
        place = f"{at}.{word}"
        if _is_broken(word, rule):
            yield f"{place[:300]} is no {word} of JSON Schema"
        else:
            for inner, part in _parts(word, rule):
                yield from _broken(part, f"{place}{inner}")


def _is_broken(word: str, rule: object) -> bool:
    if word in _BY_NAME:
        return not isinstance(rule, Mapping)
    if word in _LISTS:
        return not (isinstance(rule, list) and rule)
    if word in _SINGLE:
        return not isinstance(rule, (Mapping, bool, _OLD.get(word, bool)))
    if word == "pattern" and isinstance(rule, str):
        return not (has_form(word, rule) or _is_backtracking_pattern(rule))
    return has_form(word, rule) is False and not isinstance(rule, _OLD.get(word, ()))


def _is_backtracking_pattern(text: str) -> bool:
    """Whether it is a pattern with what ours lack: looks ahead and back, references."""
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _parts(word: str, rule: Any) -> Sequence[tuple[str, object]]:  # noqa: ANN401 - any JSON
    """Return the schemas inside a keyword of the right form, each with its place in it."""
    if word in _BY_NAME:
        return [(f".{name}", part) for name, part in rule.items()]
    if word in _LISTS or (word in _SINGLE and isinstance(rule, list)):
        return [(f"[{place}]", part) for place, part in enumerate(rule)]
    return [("", rule)] if word in _SINGLE else []
