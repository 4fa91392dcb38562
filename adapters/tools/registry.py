"""The tools of this process, by name. Knows no HTTP and no store."""

from collections.abc import Iterable, Sequence
from typing import Any

from adapters.tools.arguments import InvalidArgumentsError
from adapters.tools.context import ToolContext
from adapters.tools.decorator import FunctionTool
from adapters.tools.inline import Terms, run_inline
from adapters.tools.pool import ProcessPool, ToolRaisedError
from adapters.tools.results import DEFAULT_MAX_RESULT_BYTES, UnusableResultError, encode_result
from adapters.tools.watch import LoopWatch
from domain.errors import OrchestratorError, SetupError, ToolFailedError
from domain.stats import ToolTrouble
from domain.tool import ToolInvocation, ToolOutcome, ToolSpec

MAX_MESSAGE_CHARACTERS = 4000
"""What a model reads of a failure."""


class ToolRegistry:
    """The `Toolbox` of a worker: `async` tools run in its event loop, blocking ones in `pool`."""

    def __init__(
        self,
        tools: Iterable[FunctionTool] = (),
        *,
        pool: ProcessPool | None = None,
        max_result_bytes: int = DEFAULT_MAX_RESULT_BYTES,
        cancel_grace_seconds: float = 1.0,
    ) -> None:
        self._tools: dict[str, FunctionTool] = {}
        self._pool = pool or ProcessPool()
        self._watch = LoopWatch()
        self._max_result_bytes = max_result_bytes
        self._cancel_grace_seconds = cancel_grace_seconds
        for tool in tools:
            self.register(tool)

    def register(self, tool: FunctionTool) -> None:
        """Add a tool.

        Raises:
            SetupError: its name is taken, or it blocks and no other process could import it.
        """
        name = tool.spec.name
        if name in self._tools:
            raise SetupError(f"two tools are named {name}: rename one of them")
        if tool.spec.blocking and ("<" in tool.target or tool.target.startswith("__main__:")):
            raise SetupError(
                f"tool {name} blocks, so it must stand at the top level of an importable module, "
                f"not at {tool.target}; an async function may stand anywhere"
            )
        self._tools[name] = tool

    def specs(self) -> Sequence[ToolSpec]:
        """Return every registered tool, by name."""
        return [self._tools[name].spec for name in sorted(self._tools)]

    def trouble(self) -> ToolTrouble:
        """Return what tools in this process's event loop do to it."""
        return self._watch.trouble()

    async def run(self, invocation: ToolInvocation) -> ToolOutcome:
        """Execute one call once; see `domain.ports.Toolbox`."""
        tool = self._tools.get(invocation.name)
        if tool is None:
            known = ", ".join(sorted(self._tools))
            return _failure("unknown_tool", f"there is no tool {invocation.name[:100]!r}: {known}")
        try:
            return ToolOutcome(ok=True, content=await self._execute(tool, invocation))
        except InvalidArgumentsError as error:
            return _failure("invalid_arguments", f"invalid arguments, nothing was done: {error}")
        except UnusableResultError as error:
            return _failure("unusable_result", f"the tool ran, but {error}")
        except ToolFailedError as error:
            return _failure(error.code, error.message)

    async def aclose(self) -> None:
        """End the processes that are kept for blocking tools."""
        await self._pool.aclose()

    async def _execute(self, tool: FunctionTool, invocation: ToolInvocation) -> str:
        bound = tool.bind(invocation.args, ToolContext.of(invocation))
        if tool.spec.blocking:
            return await self._pool.call(tool.target, invocation, self._max_result_bytes)
        value = await self._inline(tool, bound, invocation)
        return encode_result(value, self._max_result_bytes)

    async def _inline(
        self, tool: FunctionTool, bound: dict[str, Any], invocation: ToolInvocation
    ) -> object:
        """Run a tool here, and say of what it raises by surprise which tool it was."""
        terms = Terms(
            invocation.timeout_seconds,
            self._cancel_grace_seconds,
            f"{tool.spec.name} (run {invocation.run_id})",
            self._watch,
        )
        try:
            return await run_inline(tool, bound, terms)
        except (OrchestratorError, TimeoutError, ToolRaisedError):
            raise
        except Exception as error:  # a user's tool may raise anything
            said = f"tool {tool.spec.name} raised {type(error).__name__}: {error}"
            raise ToolRaisedError(said) from error


def _failure(code: str, message: str) -> ToolOutcome:
    return ToolOutcome(ok=False, content=message[:MAX_MESSAGE_CHARACTERS], error_code=code)
