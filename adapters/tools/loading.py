"""Tools that an operator names in the settings as `module:name`."""

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

from adapters.tools.decorator import FunctionTool
from domain.errors import SetupError


def load_tools(targets: Iterable[str], folder: Path | None = None) -> list[FunctionTool]:
    """Import `["mymodule:my_tool"]`, also from `folder` (the working directory by default).

    Raises:
        SetupError: a module that cannot be imported, or a name in it that is not a tool.
    """
    where = str((folder or Path.cwd()).resolve())
    if where not in sys.path:
        sys.path.append(where)
    return [_load(target) for target in targets]


def _load(target: str) -> FunctionTool:
    module, colon, name = target.strip().partition(":")
    if not (module and colon and name):
        raise SetupError(f"tool {target!r} is not of the form module:name")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (Exception, SystemExit) as error:  # a module of the user's may fail in any way
        raise SetupError(
            f"tool {target!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, FunctionTool):
        raise SetupError(f"{target!r} is not a tool: decorate the function with @tool")
    return found
