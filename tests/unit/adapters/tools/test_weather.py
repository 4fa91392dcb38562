"""`weather` against a stub that speaks Open-Meteo's format, and without a network."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from adapters.net.guard import guarded_client
from adapters.net.policy import LOOPBACK, AddressPolicy
from adapters.tools.registry import ToolRegistry
from adapters.tools.weather import weather_tool
from domain.errors import TransientError
from tests.unit.adapters.net.rawserver import RawServer, http, raw_server
from tests.unit.adapters.tools.calls import call

PLACE = {"name": "Paris", "country": "France", "latitude": 48.85, "longitude": 2.35, "id": 1}
CURRENT = {
    "time": "2026-11-20T12:00",
    "interval": 900,
    "temperature_2m": 9.5,
    "apparent_temperature": 7,
    "relative_humidity_2m": 81,
    "precipitation": 0.2,
    "weather_code": 61,
    "wind_speed_10m": 12.6,
}


def reply(body: object, status: int = 200) -> list[bytes]:
    return [http(status, json.dumps(body).encode(), Content_Type="application/json")]


FOUND = {
    "/v1/search": reply({"results": [PLACE]}),
    "/v1/forecast": reply({"current": CURRENT}),
}


@asynccontextmanager
async def weather_of(
    answers: Mapping[str, list[bytes]],
) -> AsyncIterator[tuple[ToolRegistry, RawServer]]:
    policy = AddressPolicy(allow_private_hosts=LOOPBACK)
    async with raw_server(answers) as server, guarded_client(policy) as client:
        tool = weather_tool(client, geocoding_url=server.url, forecast_url=server.url)
        yield ToolRegistry([tool]), server


async def test_weather_of_a_place() -> None:
    async with weather_of(FOUND) as (registry, server):
        outcome = await call(registry, "weather", location="Paris & co")

    assert json.loads(outcome.content) == {
        "location": "Paris, France",
        "condition": "light rain",
        "temperature": 9.5,
        "feels_like": 7,
        "humidity_percent": 81,
        "precipitation": 0.2,
        "wind_speed": 12.6,
        "units": "metric",
        "observed_at": "2026-11-20T12:00",
    }
    assert b"name=Paris+%26+co&" in server.requests[0]
    assert b"latitude=48.85&longitude=2.35&" in server.requests[1]
    assert b"fahrenheit" not in server.requests[1]


async def test_imperial_units_are_asked_for() -> None:
    async with weather_of(FOUND) as (registry, server):
        outcome = await call(registry, "weather", location="Paris", units="imperial")

    assert json.loads(outcome.content)["units"] == "imperial"
    assert b"temperature_unit=fahrenheit&wind_speed_unit=mph" in server.requests[1]


async def test_unknown_place_is_said() -> None:
    async with weather_of({"/v1/search": reply({"generationtime_ms": 1})}) as (registry, _):
        outcome = await call(registry, "weather", location="Nowhere")

    assert (outcome.ok, outcome.error_code) == (False, "tool_error")
    assert outcome.content == "no place named 'Nowhere' is known"


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_busy_service_is_worth_a_retry(status: int) -> None:
    async with weather_of({"": reply({}, status)}) as (registry, _):
        with pytest.raises(TransientError, match=str(status)) as caught:
            await call(registry, "weather", location="Paris")

    assert caught.value.retry_after == timedelta(seconds=2)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"results": [{"name": 1}]}'])
async def test_nonsense_from_the_service_is_said(body: bytes) -> None:
    async with weather_of({"": [http(200, body)]}) as (registry, _):
        outcome = await call(registry, "weather", location="Paris")

    assert not outcome.ok
    assert "no usable answer (200)" in outcome.content


async def test_without_a_network_the_model_is_told_clearly() -> None:
    async def no_dns(host: str, port: int) -> list[str]:
        raise OSError("no network")

    async with guarded_client(AddressPolicy(), resolver=no_dns) as client:
        outcome = await call(ToolRegistry([weather_tool(client)]), "weather", location="Paris")

    assert (outcome.ok, outcome.error_code) == (False, "tool_error")
    assert "is there a network?" in outcome.content
    assert "geocoding-api.open-meteo.com" in outcome.content
