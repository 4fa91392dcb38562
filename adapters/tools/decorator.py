"""`@tool` makes a function a tool: its schema from the type hints, its words from the docstring.

    @tool(effect=Effect.IDEMPOTENT, timeout_seconds=10)
    def book(room: str, nights: int, context: ToolContext) -> dict[str, str]:
        "Book a room."
        return rooms.book(room, nights, key=context.idempotency_key)

A parameter `type_` is `type` to a model. How a tool fails says what happened: `ToolFailedError` -
nothing, and the model reads why; `TransientError` - nothing, and a retry may help; anything else -
nobody knows.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, overload

from adapters.tools.arguments import Arguments
from adapters.tools.context import ToolContext
from adapters.tools.docstring import argument_texts, summary
from domain.tool import Effect, ToolSpec

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What every provider accepts as a tool's name."""


@dataclass(frozen=True)
class FunctionTool:
    """A function with its specification. Calling it calls the function, as tests like it."""

    function: Callable[..., Any]
    spec: ToolSpec
    arguments: Arguments
    is_async: bool

    def __call__(self, *args: object, **kwargs: object) -> Any:  # noqa: ANN401 - as it returns
        """Call the function itself, unchecked."""
        return self.function(*args, **kwargs)

    @property
    def target(self) -> str:
        """Where another process finds this tool: `module:name`."""
        return f"{self.function.__module__}:{self.function.__qualname__}"

    def bind(self, args: dict[str, Any], context: ToolContext) -> dict[str, Any]:
        """Return the keyword arguments of one call.

        Raises:
            InvalidArgumentsError: `args` does not fit the schema.
        """
        bound = self.arguments.read(args)
        if self.arguments.context_name is not None:
            bound[self.arguments.context_name] = context
        return bound


@overload
def tool(function: Callable[..., Any], /) -> FunctionTool: ...


@overload
def tool(
    *,
    effect: Effect = Effect.NONE,
    timeout_seconds: float = 30.0,
    attempts: int = 3,
    name: str | None = None,
    blocking: bool | None = None,
    untrusted: bool = False,
) -> Callable[[Callable[..., Any]], FunctionTool]: ...


def tool(  # noqa: PLR0913 - each option is a parameter
    function: Callable[..., Any] | None = None,
    /,
    *,
    effect: Effect = Effect.NONE,
    timeout_seconds: float = 30.0,
    attempts: int = 3,
    name: str | None = None,
    blocking: bool | None = None,
    untrusted: bool = False,
) -> FunctionTool | Callable[[Callable[..., Any]], FunctionTool]:
    """Make a function a tool.

    Args:
        function: The function, when the decorator is used without parentheses.
        effect: What a second execution of the same call would do to the world.
        timeout_seconds: When it is cut; a blocking tool's process is killed then.
        attempts: Executions of one call after failures that it declares as retryable.
        name: What a model calls it; the function's name by default.
        blocking: Run it in a child process. By default a plain function does and an `async` one
            does not. `False` on a plain function is for those that never take long.
        untrusted: What it returns was written by strangers; unsafe calls after it are asked for.

    Raises:
        TypeError: no docstring, a parameter without a type hint, or an unusable name.
    """

    def decorate(function: Callable[..., Any]) -> FunctionTool:
        is_async = inspect.iscoroutinefunction(function)
        text = function.__doc__ or ""
        chosen = name or function.__name__
        if not summary(text):
            raise TypeError(f"tool {chosen}: a docstring is missing; it is what the model reads")
        if not _NAME.fullmatch(chosen):
            raise TypeError(f"tool {chosen!r}: a name has 1 to 64 letters, digits, _ or -")
        arguments = Arguments(function, argument_texts(text))
        spec = ToolSpec(
            name=chosen,
            description=summary(text),
            parameters=arguments.schema(),
            effect=effect,
            timeout_seconds=timeout_seconds,
            attempts=attempts,
            blocking=not is_async if blocking is None else blocking,
            untrusted=untrusted,
        )
        return FunctionTool(function, spec, arguments, is_async)

    return decorate if function is None else decorate(function)
