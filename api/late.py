"""Routes and shapes that are worked out when they are first asked for.

FastAPI reads a function's signature and builds validators for it as the route is made, pydantic
builds those of a model as its class is made: with some hundred of each that is a third of a start,
and most processes serve only a few of them. They are asked for in the event loop alone.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fastapi._compat import ModelField
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from pydantic.warnings import UnsupportedFieldAttributeWarning
from starlette.routing import compile_path


class LateRoute(APIRoute):
    """A route that knows its path and its methods, and the rest once somebody needs it.

    A mistake in a signature shows there, at the latest in the OpenAPI document.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        methods: Iterable[str] | None = None,
        **about: Any,  # noqa: ANN401 -- FastAPI's own
    ) -> None:
        self.path = path
        self.endpoint = endpoint
        self.methods = {method.upper() for method in methods or ["GET"]}
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)
        self._about: dict[str, Any] | None = about

    def analyse(self) -> None:
        """Become the whole route."""
        about, self._about = self._about, None
        assert about is not None, "it is analysed once"
        with warnings.catch_warnings():
            # As FastAPI does where it builds at once: it knows that an alias is of no use here.
            warnings.simplefilter("ignore", UnsupportedFieldAttributeWarning)
            super().__init__(self.path, self.endpoint, methods=self.methods, **about)
            for field in self._read_fields():
                field.validate(None)

    def _read_fields(self) -> Iterator[ModelField]:
        if self.body_field is not None:
            yield self.body_field
        todo = [self.dependant]
        while todo:
            dependant = todo.pop()
            yield from dependant.query_params
            todo += dependant.dependencies

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever FastAPI keeps
        """Return what is not there yet."""
        if self.__dict__.get("_about") is None or name.startswith("__"):
            raise AttributeError(f"a route has no {name}")
        self.analyse()
        return getattr(self, name)


class LateModel(BaseModel):
    """A shape of a request or an answer, built when the first of its kind is read or written."""

    model_config = ConfigDict(defer_build=True)
