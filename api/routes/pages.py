"""Pages for people: a first page and the API's documentation, both without any other server."""

from functools import cache
from html import escape
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as PathParam
from starlette.requests import Request
from starlette.responses import Response

from api.errors import refuse
from api.late import LateRoute
from api.services import Reader

router = APIRouter(include_in_schema=False, route_class=LateRoute)

_FOLDER = Path(__file__).parent.parent / "static"
_TYPES = {
    "docs.js": "text/javascript; charset=utf-8",
    "home.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}
"""Every file that is served: a name that is not here is not looked for."""
_HTML = "text/html; charset=utf-8"
_HOME_POLICY = "default-src 'none'; style-src 'self'; img-src data:; frame-ancestors 'none'"
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none';"
    " form-action 'none'"
)
"""swagger-ui sets style attributes; nothing else inline, and nothing from elsewhere."""


@router.get("/")
async def get_home(request: Request) -> Response:
    """Return links and one example, with the address that this very request came by."""
    address = escape(f"{request.url.scheme}://{request.headers['host']}")
    page = _read("home.html").replace(b"{address}", address.encode())
    return _html(page, _HOME_POLICY)


@router.get("/docs")
async def get_docs(_access: Reader) -> Response:
    """Return the API's documentation, to read and to try."""
    return _html(_read("docs.html"), _DOCS_POLICY)


@router.get("/static/{name}")
async def get_static(name: Annotated[str, PathParam(max_length=100)]) -> Response:
    """Return one of the files that the pages need."""
    media = _TYPES.get(name)
    if media is None:
        raise refuse(404, "not_found", "there is no such file")
    return Response(_read(name), media_type=media, headers={"cache-control": "max-age=3600"})


def _html(page: bytes, policy: str) -> Response:
    return Response(page, media_type=_HTML, headers={"content-security-policy": policy})


@cache
def _read(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()
