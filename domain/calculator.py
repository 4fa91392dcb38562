"""Arithmetic that a model may ask for: an allow-list over Python's expression grammar.

Numbers are decimals of 100 digits, so 0.1 + 0.2 is 0.3, and no input can make a number, a power or
a tree large enough to matter. Nothing is ever evaluated by Python itself.
"""

import ast
import decimal
import operator
from collections.abc import Callable
from decimal import Decimal

from domain.errors import ToolFailedError

MAX_CHARACTERS = 500
"""Length of an expression."""
MAX_DIGITS = 500
"""Digits of a whole number that is given; as many as an expression could hold."""
MAX_DEPTH = 250
"""Operators and calls within each other."""
MAX_EXPONENT = 10_000
"""Largest absolute exponent of a power."""
DIGITS = 100
"""Significant digits that are computed; an integer with more is answered as a float."""

_TOO_LONG = 10**MAX_DIGITS
_CONTEXT = decimal.Context(
    prec=DIGITS,
    Emax=307,
    Emin=-400,
    traps=[decimal.Overflow, decimal.InvalidOperation],
)
_SPOKEN = str.maketrans(
    {"\N{MULTIPLICATION SIGN}": "*", "÷": "/", "\N{MINUS SIGN}": "-", "\n": " ", "\t": " "}
)


def _power(base: Decimal, exponent: Decimal) -> Decimal:
    if abs(exponent) > MAX_EXPONENT:
        raise ToolFailedError(f"an exponent may be at most {MAX_EXPONENT}")
    return base**exponent


def _divide(a: Decimal, b: Decimal) -> Decimal:
    if not b:
        raise ToolFailedError("division by zero")
    return a / b


def _modulo(a: Decimal, b: Decimal) -> Decimal:
    """Return the remainder with the sign of `b`, as Python's integers have it."""
    if not b:
        raise ToolFailedError("division by zero")
    rest = a % b
    return rest + b if rest and (rest < 0) != (b < 0) else rest


def _floor_divide(a: Decimal, b: Decimal) -> Decimal:
    return _divide(a - _modulo(a, b), b)


def _round(number: Decimal, places: Decimal = Decimal(0)) -> Decimal:
    if places != places.to_integral_value() or abs(places) > DIGITS:
        raise ToolFailedError(f"round takes a whole number of places up to {DIGITS}")
    return number.quantize(Decimal(1).scaleb(-int(places)), rounding=decimal.ROUND_HALF_EVEN)


def _floor(number: Decimal) -> Decimal:
    return number.to_integral_value(rounding=decimal.ROUND_FLOOR)


def _ceil(number: Decimal) -> Decimal:
    return number.to_integral_value(rounding=decimal.ROUND_CEILING)


_BINARY: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
    ast.FloorDiv: _floor_divide,
    ast.Mod: _modulo,
    ast.Pow: _power,
}
_UNARY: dict[type[ast.unaryop], Callable[[Decimal], Decimal]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_FUNCTIONS: dict[str, tuple[Callable[..., Decimal], int, int]] = {
    "abs": (abs, 1, 1),
    "ceil": (_ceil, 1, 1),
    "exp": (Decimal.exp, 1, 1),
    "floor": (_floor, 1, 1),
    "ln": (Decimal.ln, 1, 1),
    "log10": (Decimal.log10, 1, 1),
    "max": (max, 2, 20),
    "min": (min, 2, 20),
    "round": (_round, 1, 2),
    "sqrt": (Decimal.sqrt, 1, 1),
}
_CONSTANTS = {
    "pi": Decimal("3.14159265358979323846264338327950288419716939937510"),
    "e": Decimal("2.71828182845904523536028747135266249775724709369995"),
}
_OPERATIONS: dict[str, Callable[[Decimal, Decimal], Decimal]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": _divide,
}


def calculate(operation: str, a: float, b: float) -> int | float:
    """Return `a` `operation` `b`, of whole numbers to the last digit. Source: seed C, calculator.

    Raises:
        ToolFailedError: unknown operation, division by zero, or a result out of range.
    """
    if operation not in _OPERATIONS:
        raise ToolFailedError(
            f"unknown operation {operation!r}: use one of {', '.join(_OPERATIONS)}"
        )
    return _guarded(lambda: _OPERATIONS[operation](_number(a), _number(b)))


def evaluate(expression: str) -> int | float:
    """Return the value of an arithmetic expression such as `2 * (3 + 4) ** 2`.

    Raises:
        ToolFailedError: not arithmetic, too long or deep, division by zero, or out of range.
    """
    if len(expression) > MAX_CHARACTERS:
        raise ToolFailedError(f"an expression may have at most {MAX_CHARACTERS} characters")
    try:
        tree = ast.parse(expression.translate(_SPOKEN).strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ToolFailedError(f"{expression!r} is not an arithmetic expression") from error
    return _guarded(lambda: _value(tree.body, MAX_DEPTH))


def _guarded(compute: Callable[[], Decimal]) -> int | float:
    with decimal.localcontext(_CONTEXT) as context:
        try:
            result = +compute()
        except decimal.Overflow as error:
            raise ToolFailedError("the result is too large (over 1e307)") from error
        except decimal.InvalidOperation as error:
            raise ToolFailedError("the result is not defined, or has too many digits") from error
        if not result.is_finite():
            raise ToolFailedError("the result is not a finite number")
        return _plain(result, exact=not context.flags[decimal.Inexact])


def _plain(result: Decimal, *, exact: bool) -> int | float:
    """Return an exact whole number as int, anything else as the nearest float."""
    nearest = float(result)
    if exact and result.adjusted() < DIGITS and result == result.to_integral_value():
        return int(result)
    return int(nearest) if nearest.is_integer() and abs(nearest) < 2**53 else nearest


def _value(node: ast.expr, depth: int) -> Decimal:
    if depth == 0:
        raise ToolFailedError(f"an expression may be at most {MAX_DEPTH} levels deep")
    match node:
        case ast.Constant(value=value):
            return _number(value)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_value(left, depth - 1), _value(right, depth - 1))
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
            return _UNARY[type(sign)](_value(operand, depth - 1))
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return _call(name, [_value(arg, depth - 1) for arg in args])
        case _:
            raise ToolFailedError(_why_not(node))


def _number(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ToolFailedError(f"{value!r} is not a number")
    if isinstance(value, int) and abs(value) >= _TOO_LONG:
        raise ToolFailedError(f"a number may have at most {MAX_DIGITS} digits")
    number = Decimal(repr(value))
    if not number.is_finite():
        raise ToolFailedError(f"{value!r} is not a finite number")
    return number


def _call(name: str, args: list[Decimal]) -> Decimal:
    function, least, most = _FUNCTIONS[name]
    if not least <= len(args) <= most:
        raise ToolFailedError(f"{name} takes {least} to {most} numbers, not {len(args)}")
    return function(*args)


def _why_not(node: ast.expr) -> str:
    """Say what to use instead of a part that is not arithmetic."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
        return "^ is not a power here: use **"
    if isinstance(node, ast.Call | ast.Name):
        known = ", ".join([*_FUNCTIONS, *_CONSTANTS])
        return f"{ast.unparse(node)[:60]!r} is not known: only {known}"
    return f"{ast.unparse(node)[:60]!r} is not arithmetic: numbers, + - * / // % ** and functions"
