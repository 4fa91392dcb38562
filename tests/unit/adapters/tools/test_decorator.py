"""A function becomes a tool: schema from its types, words from its docstring."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from adapters.tools.arguments import InvalidArgumentsError
from adapters.tools.context import ToolContext
from adapters.tools.decorator import FunctionTool, tool
from domain.tool import Effect

CONTEXT = ToolContext("run_1", "tc_1", "run_1:tc_1", 5.0)


class Colour(StrEnum):
    RED = "red"


class Size(BaseModel):
    width: int


@tool(effect=Effect.UNSAFE, timeout_seconds=7, attempts=2, name="paint-it")
def paint(
    wall: str,
    context: ToolContext,
    *,
    colour: Colour = Colour.RED,
    mode: Literal["fast", "slow"] | None = None,
    layers: Annotated[int, Field(ge=1, le=3)] = 1,
    size: Size | None = None,
    type_: list[str] | None = None,
) -> str:
    """Paint a wall in
    a colour.

    More that no model needs.

    Args:
        wall: Which wall,
            by its name.
        colour (Colour): One of a few.
        type_: Kinds: of paint.

    Returns:
        wall: not an argument.
    """
    return f"{wall} {colour} {mode} {layers} {size} {type_} {context.idempotency_key}"


def test_specification_is_as_declared() -> None:
    spec = paint.spec

    assert (spec.name, spec.effect) == ("paint-it", Effect.UNSAFE)
    assert (spec.timeout_seconds, spec.attempts, spec.blocking) == (7, 2, True)
    assert spec.description == "Paint a wall in a colour."


def test_schema_is_what_a_model_needs_and_no_more() -> None:
    assert paint.spec.parameters == {
        "$defs": {
            "Colour": {"enum": ["red"], "type": "string"},
            "Size": {
                "properties": {"width": {"type": "integer"}},
                "required": ["width"],
                "type": "object",
            },
        },
        "additionalProperties": False,
        "properties": {
            "wall": {"description": "Which wall, by its name.", "type": "string"},
            "colour": {
                "$ref": "#/$defs/Colour",
                "default": "red",
                "description": "One of a few.",
            },
            "mode": {"enum": ["fast", "slow"], "type": "string"},
            "layers": {"default": 1, "maximum": 3, "minimum": 1, "type": "integer"},
            "size": {"$ref": "#/$defs/Size"},
            "type": {
                "description": "Kinds: of paint.",
                "items": {"type": "string"},
                "type": "array",
            },
        },
        "required": ["wall"],
        "type": "object",
    }


def test_arguments_become_typed_and_context_is_given() -> None:
    bound = paint.bind({"wall": "x", "size": {"width": 2}, "type": ["a"], "mode": None}, CONTEXT)

    assert paint(**bound) == "x red None 1 width=2 ['a'] run_1:tc_1"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({}, "wall: Field required"),
        ({"wall": 5}, r"wall: Input should be a valid string \(got 5\)"),
        ({"wall": "x", "layers": "2"}, "layers: Input should be a valid integer"),
        ({"wall": "x", "layers": 4}, "layers: Input should be less than or equal to 3"),
        ({"wall": "x", "size": {"width": 1.5}}, "size.width: Input should be"),
        ({"wall": "x", "colour": "blue"}, "colour: Input should be 'red'"),
        ({"wall": "x", "paint": 1}, "paint: Extra inputs are not permitted"),
        ({"wall": "x", "context": {}}, "context: Extra inputs are not permitted"),
        ({"wall": "x", "type_": []}, "type_: Extra inputs are not permitted"),
        ({"wall": "\ud800"}, "not JSON"),
    ],
)
def test_wrong_arguments_are_explained(args: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgumentsError, match=says):
        paint.bind(args, CONTEXT)


def test_explanation_of_many_or_large_arguments_is_short() -> None:
    with pytest.raises(InvalidArgumentsError) as caught:
        paint.bind({f"{'k' * 1000}{i}": "v" * 100_000 for i in range(100)}, CONTEXT)

    assert len(str(caught.value)) < 5000


def test_decorator_without_parentheses_uses_the_defaults() -> None:
    @tool
    async def plain() -> None:
        """Do nothing."""

    assert isinstance(plain, FunctionTool)
    assert (plain.spec.name, plain.spec.effect) == ("plain", Effect.NONE)
    assert (plain.spec.timeout_seconds, plain.spec.attempts) == (30, 3)
    assert plain.spec.blocking is False
    assert plain.spec.parameters["properties"] == {}


@pytest.mark.parametrize("name", ["schema", "copy", "json", "model_config", "self_"])
def test_parameter_may_have_any_name(name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def f({name}: int) -> int:\n  'Echo.'\n  return {name}", namespace)
    made = tool(namespace["f"])

    assert made(**made.bind({name.removesuffix("_"): 3}, CONTEXT)) == 3


def no_hint(x) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    """Say x."""


def variadic(*args: int) -> None:
    """Say args."""


def positional(x: int, /) -> None:
    """Say x."""


def silent(x: int) -> None: ...


def unknown_type(x: "Nowhere") -> None:  # type: ignore[name-defined] # noqa: F821
    """Say x."""


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (no_hint, "'x' has no type hint"),
        (variadic, "'args' cannot be given by name"),
        (positional, "'x' cannot be given by name"),
        (silent, "a docstring is missing"),
        (unknown_type, "Nowhere"),
    ],
)
def test_function_that_cannot_be_a_tool_is_refused_at_once(
    function: Callable[..., object], why: str
) -> None:
    with pytest.raises(TypeError, match=why):
        tool(function)


@pytest.mark.parametrize("name", ["with space", "ü", "x" * 65, "a.b"])
def test_name_that_a_provider_would_refuse_is_refused_at_once(name: str) -> None:
    with pytest.raises(TypeError, match="letters, digits"):
        tool(name=name)(paint.function)
