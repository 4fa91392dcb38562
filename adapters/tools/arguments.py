"""A function's parameters as a JSON Schema and as a strict reader of JSON arguments."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError, to_json

from adapters.tools.context import ToolContext

MAX_PROBLEMS_SHOWN = 10
"""Problems of one call that the model is told about."""


class InvalidArgumentsError(ValueError):
    """The arguments do not fit the schema; the message is for the model. Nothing ran."""


class _Untitled(GenerateJsonSchema):
    """JSON Schema whose fields have no invented titles: a model pays for every token."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's
        return False


class Arguments:
    """The parameters of one function. `context_name` is its `ToolContext` parameter, if any."""

    def __init__(self, function: Callable[..., object], texts: Mapping[str, str]) -> None:
        hints = _hints(function)
        self.context_name: str | None = None
        self._names: dict[str, str] = {}
        fields: dict[str, Any] = {}
        for name, parameter in inspect.signature(function).parameters.items():
            _require_plain(function, parameter, hints)
            if hints[name] is ToolContext:
                self.context_name = name
                continue
            # Fields have names of their own: a parameter may be called `schema` or `copy`.
            field = f"field_{len(fields)}"
            self._names[field] = name
            default = ... if parameter.default is parameter.empty else parameter.default
            info = Field(default, alias=_shown(name), description=texts.get(name) or None)
            fields[field] = (hints[name], info)
        config = ConfigDict(extra="forbid", strict=True)
        self._model: type[BaseModel] = create_model(function.__name__, __config__=config, **fields)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments object."""
        schema = self._model.model_json_schema(schema_generator=_Untitled)
        for shape in (schema, *schema.get("$defs", {}).values()):
            shape.pop("title", None)
        for name, shape in schema["properties"].items():
            schema["properties"][name] = _without_null(shape)
        return schema

    def read(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return keyword arguments for the function from parsed JSON.

        Raises:
            InvalidArgumentsError: an argument is missing, unknown or of another type.
        """
        try:
            values = self._model.model_validate_json(to_json(args))
        except ValidationError as error:
            raise InvalidArgumentsError(_problems(error)) from error
        except (PydanticSerializationError, ValueError) as error:
            raise InvalidArgumentsError(f"the arguments are not JSON: {error}") from error
        return {name: getattr(values, field) for field, name in self._names.items()}


def _without_null(shape: dict[str, Any]) -> dict[str, Any]:
    """Show an optional argument as what it is when given; null stays accepted."""
    kinds = [kind for kind in shape.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1 or shape.get("default", ...) is not None:
        return shape
    rest = {key: value for key, value in shape.items() if key not in ("anyOf", "default")}
    return {**kinds[0], **rest}


def _shown(name: str) -> str:
    """Return what a model calls a parameter: `type_` is `type`, as PEP 8 evades built-in names."""
    return name.removesuffix("_")


def _hints(function: Callable[..., object]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(f"tool {function.__qualname__}: {error} (in its type hints)") from error


def _require_plain(
    function: Callable[..., object], parameter: inspect.Parameter, hints: Mapping[str, Any]
) -> None:
    where = f"tool {function.__qualname__}: parameter {parameter.name!r}"
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise TypeError(f"{where} cannot be given by name")
    if parameter.name not in hints:
        raise TypeError(f"{where} has no type hint; the schema is made from it")


def _problems(error: ValidationError) -> str:
    """Say what is wrong with each argument, without echoing large values."""
    lines = []
    for problem in error.errors(include_url=False, include_context=False)[:MAX_PROBLEMS_SHOWN]:
        path = ".".join(str(part) for part in problem["loc"]) or "arguments"
        given = "" if problem["type"] == "missing" else f" (got {repr(problem['input'])[:80]})"
        lines.append(f"{path[:200]}: {problem['msg']}{given}")
    return "; ".join(lines)
