"""The `calculator` tool: arithmetic on two numbers or on an expression. Source: seed C."""

from typing import Annotated, Literal

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator

from adapters.tools.decorator import tool
from domain.calculator import MAX_CHARACTERS, calculate, evaluate
from domain.errors import ToolFailedError


def _whole(value: object, read: ValidatorFunctionWrapHandler) -> object:
    return value if type(value) is int else read(value)


Number = Annotated[float, WrapValidator(_whole)]
"""A whole number stays whole however long it is; a fraction is as exact as JSON's numbers are."""


@tool(name="calculator", blocking=False)
def calculator(
    operation: Literal["add", "subtract", "multiply", "divide"] | None = None,
    a: Number | None = None,
    b: Number | None = None,
    expression: Annotated[str, Field(max_length=MAX_CHARACTERS)] | None = None,
) -> dict[str, int | float]:
    """Do arithmetic, exact to 100 digits: give `operation`, `a` and `b`, or an `expression`.

    Args:
        operation: What to do with a and b.
        a: First number.
        b: Second number.
        expression: Instead of the others: numbers, + - * / // % ** and parentheses, abs, ceil,
            exp, floor, ln, log10, max, min, round, sqrt, pi, e. For example "2 * (3 + 4) ** 2".
    """
    if expression is not None:
        if operation is not None or a is not None or b is not None:
            raise ToolFailedError("give either an expression or operation, a and b")
        return {"result": evaluate(expression)}
    if operation is None or a is None or b is None:
        raise ToolFailedError("operation, a and b are all needed, or an expression")
    return {"result": calculate(operation, a, b)}
