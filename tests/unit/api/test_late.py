"""Routes and shapes that are worked out when they are first asked for."""

from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.routing import Match

from api.app import create_app
from api.late import LateModel, LateRoute
from tests.fakes.world import World, fake_config


class _Query(LateModel):
    limit: int = 1


async def _read(number: int, query: _Query) -> None: ...


def _scope(method: str, path: str) -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "root_path": ""}


def test_a_route_is_found_before_it_is_analysed() -> None:
    route = LateRoute("/things/{number}", _read, methods=["get"], name="things")

    assert route.matches(_scope("GET", "/things/1"))[0] is Match.FULL
    assert route.matches(_scope("POST", "/things/1"))[0] is Match.PARTIAL
    assert route.matches(_scope("GET", "/other"))[0] is Match.NONE
    assert "dependant" not in vars(route)

    assert [field.name for field in route.dependant.path_params] == ["number"]
    assert route.name == "things"
    with pytest.raises(AttributeError, match="a route has no such_thing"):
        _ = route.such_thing


def test_a_mistake_in_a_signature_shows_where_the_route_is_asked_for() -> None:
    async def wrong(thing: object()) -> None: ...  # type: ignore[valid-type]

    route = LateRoute("/", wrong)

    with pytest.raises(Exception, match="object"):
        _ = route.dependant


def test_a_shape_is_built_when_one_is_read() -> None:
    assert not _Query.__pydantic_complete__

    assert _Query.model_validate({"limit": "2"}).limit == 2
    assert _Query.__pydantic_complete__


def test_no_route_is_analysed_at_the_start() -> None:
    app = create_app(World().ports(), fake_config())

    assert all(isinstance(route, LateRoute) for route in app.routes if isinstance(route, APIRoute))
