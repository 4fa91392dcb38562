"""The `random` tool: numbers, strings, choices and dice. Source: seed C."""

import random
import re
import string
import uuid
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from adapters.tools.decorator import FunctionTool, tool
from domain.errors import ToolFailedError

_BOUND = 10**15
_DICE = re.compile(r"([1-9]\d?|100)?d([2-9]|[1-9]\d{1,2}|1000)")

Kind = Literal["int", "float", "bool", "string", "uuid", "choice", "dice"]
Number = Annotated[float, Field(ge=-_BOUND, le=_BOUND)]


def random_tool(rng: random.Random | None = None) -> FunctionTool:
    """Return the `random` tool; the system's randomness unless `rng` is given."""
    source = rng or random.SystemRandom()

    @tool(name="random", blocking=False)
    def draw(
        type_: Kind = "int",
        min_: Number = 0,
        max_: Number = 100,
        length: Annotated[int, Field(ge=1, le=1000)] = 16,
        choices: Annotated[list[str], Field(max_length=1000)] | None = None,
        dice: Annotated[str, Field(max_length=8)] = "1d6",
    ) -> dict[str, object]:
        """Draw something at random.

        Args:
            type_: What to draw.
            min_: Least value of int and float.
            max_: Greatest value of int and float.
            length: Characters of a string.
            choices: What choice picks from.
            dice: How many dice of how many sides, for example "2d6".
        """
        if min_ > max_:
            raise ToolFailedError(f"min ({min_}) is greater than max ({max_})")
        if type_ == "dice":
            return _roll(source, dice)
        kinds: dict[str, Callable[[], object]] = {
            "int": lambda: source.randint(int(min_), int(max_)),
            "float": lambda: source.uniform(min_, max_),
            "bool": lambda: source.random() < 0.5,
            "string": lambda: _letters(source, length),
            "uuid": lambda: str(uuid.UUID(int=source.getrandbits(128), version=4)),
            "choice": lambda: _pick(source, choices),
        }
        return {"value": kinds[type_]()}

    return draw


def _letters(source: random.Random, length: int) -> str:
    return "".join(source.choices(string.ascii_letters + string.digits, k=length))


def _pick(source: random.Random, choices: list[str] | None) -> str:
    if not choices:
        raise ToolFailedError("choice needs a list of choices")
    return source.choice(choices)


def _roll(source: random.Random, dice: str) -> dict[str, object]:
    match = _DICE.fullmatch(dice)
    if match is None:
        raise ToolFailedError(f"{dice!r} is not dice such as 2d6 (up to 100d1000)")
    rolls = [source.randint(1, int(match[2])) for _ in range(int(match[1] or 1))]
    return {"rolls": rolls, "value": sum(rolls)}
