"""A toolbox of two tools, none of which is run."""

from collections.abc import Sequence

from domain.tool import Effect, ToolInvocation, ToolOutcome, ToolSpec

CALCULATOR = ToolSpec(
    name="calculator",
    description="Does arithmetic.",
    parameters={
        "type": "object",
        "properties": {"operation": {"type": "string"}, "a": {"type": "number"}},
    },
)
WIRE = ToolSpec(name="wire", description="Sends money.", parameters={}, effect=Effect.UNSAFE)


class FakeTools:
    """Two tools; none is run by the API."""

    def specs(self) -> Sequence[ToolSpec]:
        return (CALCULATOR, WIRE)

    async def run(self, invocation: ToolInvocation) -> ToolOutcome:
        raise AssertionError(f"the API runs no tool: {invocation.name}")
