"""What a request may hold: JSON bodies without harm in them, and parameters that are known."""

import json
import re
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from math import isfinite
from typing import Any

from fastapi.dependencies.models import Dependant
from pydantic import BaseModel
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from api.errors import Problem, RefusedError, family_of, refuse
from api.late import LateRoute
from domain.errors import InvalidRequestError, NotSupportedError

_SUSPECT = re.compile(rb"\\u0000|[eE]\+?\d\d|\d{300}")
"""Text that may decode to a NUL or to an infinite number: only then the values are walked."""
_LONGEST_SHOWN = 100
"""Characters of an unknown parameter's name that are repeated."""
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})
_LONGEST_PLACE = 300
"""Characters of a place in the body that are repeated."""
_LATER = frozenset({"waiting_on"})
"""Parameters that come with a later release; a route that declares one answers for itself."""


def parse_json(raw: bytes) -> Any:  # noqa: ANN401 -- plain JSON data of any shape
    """Decode a body. Depth is bounded at 200, lone surrogates and NaN are no JSON.

    Raises:
        RefusedError: 400, with the reason.
    """
    try:
        value = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise _malformed(f"the body is not JSON: {error}") from error
    # The fast decoder takes the last of two equal keys, where others take the first.
    json.loads(raw.decode(), object_pairs_hook=_unique, parse_int=float)
    if _SUSPECT.search(raw):
        flaw = _flaw(value)
        if flaw is not None:
            what, path = flaw
            place = ".".join(("body", *path))[:_LONGEST_PLACE]
            where = ({"field": place, "message": f"holds {what}"},)
            raise _malformed(f"{place} holds {what}", where)
    return value


def _malformed(detail: str, where: tuple[dict[str, str], ...] = ()) -> RefusedError:
    return RefusedError(Problem(400, "malformed_json", detail, where))


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise _malformed(f"the key {key[:_LONGEST_SHOWN]!a} stands twice in one object")
        seen.add(key)
    return found


def _flaw(value: object) -> tuple[str, tuple[str, ...]] | None:
    """Return what is wrong in `value`, and the path that leads there."""
    if isinstance(value, str):
        return ("a NUL character", ()) if "\0" in value else None
    if isinstance(value, float):
        return None if isfinite(value) else ("a number that is too large", ())
    items: Iterable[tuple[object, object]] = ()
    if isinstance(value, dict):
        if any("\0" in key for key in value):
            return "a key with a NUL character", ()
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for name, item in items:
        found = _flaw(item)
        if found is not None:
            return found[0], (str(name), *found[1])
    return None


class _JsonRequest(Request):
    async def json(self) -> Any:  # noqa: ANN401 -- as Starlette's own
        return parse_json(await self.body())


class JsonRoute(LateRoute):
    """A route whose body, if it takes one, is strict JSON.

    A native one refuses query parameters that it does not declare.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler with our way to read a request."""
        handler = super().get_route_handler()
        known = frozenset(_parameters(self.dependant)) if is_strict(self.path) else None
        has_body = self.body_field is not None

        async def handle(request: Request) -> Response:
            if known is not None and request.scope["query_string"]:
                _check_parameters(request, known)
            if not has_body:
                return await handler(request)
            check_type(request)
            return await handler(_JsonRequest(request.scope, request.receive))

        return handle


def is_strict(path: str) -> bool:
    """Say whether unknown query parameters of `path` are refused."""
    return path.startswith("/v1/") and family_of(path) == "native"


def _parameters(dependant: Dependant) -> Iterator[str]:
    """Yield the query parameters that a route and its dependencies declare."""
    for field in dependant.query_params:
        kind = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from (item.alias or name for name, item in kind.model_fields.items())
        else:
            yield field.alias
    for inner in dependant.dependencies:
        yield from _parameters(inner)


def _check_parameters(request: Request, known: frozenset[str]) -> None:
    given = [name for name, _ in request.query_params.multi_items()]
    unknown = [name for name in given if name not in known]
    if not unknown:
        _refuse_repeated(given)
        return
    name = unknown[0][:_LONGEST_SHOWN]
    if name in _LATER:
        said = f"{name} is not served yet; leave it out"
        raise NotSupportedError(said, field=f"query.{name}")
    takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
    detail = f"this path has no query parameter {name!a}; {takes}"
    where = ({"field": f"query.{name}", "message": "there is no such parameter"},)
    raise RefusedError(Problem(422, InvalidRequestError.code, detail, where))


def _refuse_repeated(given: list[str]) -> None:
    """Refuse a parameter that is given twice: which of them counts is anybody's guess."""
    twice = [name for name, count in Counter(given).items() if count > 1]
    if twice:
        detail = f"the query parameter {twice[0]!a} is given more than once"
        where = ({"field": f"query.{twice[0]}", "message": "give it once"},)
        raise RefusedError(Problem(422, InvalidRequestError.code, detail, where))


def check_type(request: Request) -> None:
    """Refuse a body that is not sent as plain JSON.

    Raises:
        RefusedError: 415, with the reason.
    """
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"", "identity"}:
        detail = "send the body as it is, without Content-Encoding"
        raise refuse(415, "unsupported_media_type", detail, accept_encoding="identity")
    media, _, about = request.headers.get("content-type", "").lower().partition(";")
    media = media.strip()
    _check_charset(about)
    if media == "application/json" or media.endswith("+json"):
        return
    has_body = request.headers.get("content-length", "0") != "0"
    if media or has_body or "transfer-encoding" in request.headers:
        raise refuse(415, "unsupported_media_type", "send the body as application/json")


def _check_charset(about: str) -> None:
    """Refuse a body in letters that we do not read: JSON is UTF-8 (RFC 8259)."""
    for part in about.split(";"):
        name, _, value = part.partition("=")
        charset = value.strip().strip('"')
        if name.strip() == "charset" and charset not in _CHARSETS:
            detail = f"the charset {charset[:_LONGEST_SHOWN]!a} is not read; send the body in utf-8"
            raise refuse(415, "unsupported_media_type", detail)
