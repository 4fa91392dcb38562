"""Tools that run where you start them: `orchestrator tools host examples/client_tools.py`.

Then name them in an agent's `tools`, or try one by hand: `orchestrator tools call disk_space '{}'`.
"""

import shutil
from pathlib import Path

from adapters.tools.context import ToolContext
from adapters.tools.decorator import tool
from domain.errors import ToolFailedError
from domain.tool import Effect

NOTES = Path("notes")


@tool(timeout_seconds=5)
async def disk_space(path: str = "/") -> dict[str, int]:
    """Say how much room there is on this machine, in bytes.

    Args:
        path: Where to look.
    """
    try:
        usage = shutil.disk_usage(path)
    except OSError as error:
        raise ToolFailedError(f"{path}: {error.strerror}") from error
    return {"total": usage.total, "free": usage.free}


@tool(effect=Effect.IDEMPOTENT, timeout_seconds=10)
def leave_note(text: str, context: ToolContext) -> str:
    """Leave a note on this machine. A repeated call with the same key leaves one.

    Args:
        text: What it says.
        context: The call's key; a model does not see this one.
    """
    NOTES.mkdir(exist_ok=True)
    note = NOTES / f"{context.idempotency_key.replace(':', '-')}.txt"
    note.write_text(text)
    return str(note)
