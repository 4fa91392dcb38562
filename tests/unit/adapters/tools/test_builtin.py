"""The built-in tools that need no network: names, shapes of seed C, and their errors."""

import json
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

import pytest

from adapters.net.guard import guarded_client
from adapters.net.policy import AddressPolicy
from adapters.tools.builtin import builtin_tools
from adapters.tools.registry import ToolRegistry
from domain.tool import Effect
from tests.unit.adapters.tools.calls import call

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
"""Half an hour before the clocks go forward in Berlin."""


@pytest.fixture
async def registry() -> AsyncIterator[ToolRegistry]:
    async with guarded_client(AddressPolicy()) as client:
        yield ToolRegistry(builtin_tools(client, rng=random.Random(7), now=lambda: NOW))


async def answer(registry: ToolRegistry, name: str, **args: Any) -> Any:
    outcome = await call(registry, name, **args)
    assert outcome.ok, outcome.content
    return json.loads(outcome.content)


def test_names_are_those_of_the_product(registry: ToolRegistry) -> None:
    names = ["calculator", "http_fetch", "random", "spawn_run", "text", "time", "weather"]

    assert [spec.name for spec in registry.specs()] == names


def test_no_built_in_tool_changes_the_world_or_needs_a_process(registry: ToolRegistry) -> None:
    """Also: no code or shell tool is shipped (attack 33)."""
    specs = registry.specs()

    changing = {spec.name for spec in specs if spec.effect is not Effect.NONE}
    assert changing == {"spawn_run"}
    assert not any(spec.blocking for spec in specs)


@pytest.mark.parametrize(
    ("args", "result"),
    [
        ({"operation": "add", "a": 17, "b": 25}, 42),
        ({"operation": "divide", "a": 1, "b": 8}, 0.125),
        ({"expression": "17 * 23"}, 391),
        ({"operation": "add", "a": 0.1, "b": 0.2}, 0.3),
        ({"operation": "subtract", "a": 9007199254740993, "b": 9007199254740992}, 1),
        (
            {"operation": "multiply", "a": 123456789012345678, "b": 987654321098765432},
            123456789012345678 * 987654321098765432,
        ),
        ({"operation": "divide", "a": 10**30 + 10, "b": 10}, 10**29 + 1),
    ],
)
async def test_calculator(registry: ToolRegistry, args: dict[str, Any], result: float) -> None:
    assert await answer(registry, "calculator", **args) == {"result": result}


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"operation": "divide", "a": 1, "b": 0}, "division by zero"),
        ({"operation": "add", "a": 1}, "all needed"),
        ({}, "all needed"),
        ({"expression": "1", "a": 1}, "either an expression"),
        ({"expression": "open('x')"}, "not known"),
        ({"operation": "add", "a": "1", "b": 2}, "a: Input should be a valid number"),
        ({"operation": "add", "a": True, "b": 2}, "a: Input should be a valid number"),
        ({"operation": "add", "a": 1, "b": 10**400}, "too large"),
        ({"operation": "multiply", "a": 10**200, "b": -(10**200)}, "too large"),
        ({"operation": "add", "a": 10**4000, "b": -(10**4000)}, "at most 500 digits"),
        ({"operation": "modulo", "a": 1, "b": 2}, "operation: Input should be 'add'"),
    ],
)
async def test_calculator_explains(registry: ToolRegistry, args: dict[str, Any], why: str) -> None:
    outcome = await call(registry, "calculator", **args)

    assert not outcome.ok
    assert why in outcome.content


async def test_time_now_in_a_zone(registry: ToolRegistry) -> None:
    assert await answer(registry, "time", timezone="Europe/Berlin") == {
        "iso": "2026-03-29T01:30:00+01:00",
        "timezone": "Europe/Berlin",
        "weekday": "Sunday",
        "unix": 1774744200,
    }


async def test_time_in_utc_needs_no_time_zone_database(
    registry: ToolRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_installed(name: str) -> None:
        raise ZoneInfoNotFoundError(name)

    monkeypatch.setattr("adapters.tools.clock.ZoneInfo", nothing_installed)

    assert (await answer(registry, "time"))["iso"] == "2026-03-29T00:30:00+00:00"


@pytest.mark.parametrize(
    ("args", "iso"),
    [
        ({"action": "timezone", "time": "2026-07-01T12:00:00Z", "timezone": "Asia/Tokyo"}, "21:00"),
        ({"action": "timezone", "time": "2026-07-01T12:00:00", "timezone": "Asia/Tokyo"}, "12:00"),
        ({"action": "add_duration", "duration": "90m"}, "2026-03-29T02:00:00+00:00"),
        ({"action": "add_duration", "duration": "-1w2d12h"}, "2026-03-19T12:30:00+00:00"),
        # An hour is an hour, although Berlin's wall clock jumps by two.
        (
            {"action": "add_duration", "duration": "1h", "timezone": "Europe/Berlin"},
            "2026-03-29T03:30:00+02:00",
        ),
    ],
)
async def test_time_arithmetic(registry: ToolRegistry, args: dict[str, Any], iso: str) -> None:
    assert iso in (await answer(registry, "time", **args))["iso"]


async def test_time_formatted_and_as_seconds(registry: ToolRegistry) -> None:
    formatted = await answer(registry, "time", action="format", format="%A %d.%m.%Y, 100%%")

    assert formatted["formatted"] == "Sunday 29.03.2026, 100%"
    assert await answer(registry, "time", action="unix") == {"unix": 1774744200}


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"timezone": "Mars/Olympus"}, "IANA"),
        ({"timezone": "../../etc/passwd"}, "IANA"),
        ({"timezone": "Europe"}, "IANA"),
        ({"timezone": ""}, "IANA"),
        ({"action": "unix", "time": "yesterday"}, "ISO 8601"),
        ({"action": "timezone", "time": "0001-01-01T00:00:00+14:00"}, "ISO 8601"),
        ({"action": "format"}, "strftime"),
        ({"action": "format", "format": "%999999999d"}, "strftime"),
        ({"action": "format", "format": "%-d"}, "strftime"),
        ({"action": "format", "format": "%"}, "strftime"),
        ({"action": "add_duration"}, "duration"),
        ({"action": "add_duration", "duration": "soon"}, "duration"),
        ({"action": "add_duration", "duration": "999999999w"}, "outside the years"),
        ({"action": "add_duration", "duration": "-9999w"}, None),
        ({"action": "add_duration", "duration": "-999999w"}, "outside the years"),
    ],
)
async def test_time_explains(registry: ToolRegistry, args: dict[str, Any], why: str | None) -> None:
    outcome = await call(registry, "time", **args)

    assert outcome.ok is (why is None)
    assert (why or "iso") in outcome.content


async def test_defaults_are_the_systems_clock_and_randomness() -> None:
    async with guarded_client(AddressPolicy()) as client:
        registry = ToolRegistry(builtin_tools(client))
        before = int(time.time())

        said = await answer(registry, "time", action="unix")
        drawn = [(await answer(registry, "random", type="uuid"))["value"] for _ in range(2)]

    assert before <= said["unix"] <= time.time()
    assert drawn[0] != drawn[1]


async def test_random_draws_from_the_given_source(registry: ToolRegistry) -> None:
    expected = random.Random(7)

    assert await answer(registry, "random", min=1, max=6) == {"value": expected.randint(1, 6)}


@pytest.mark.parametrize(
    ("args", "law"),
    [
        ({"type": "float", "min": 2, "max": 3}, lambda drawn: 2 <= drawn["value"] <= 3),
        ({"type": "bool"}, lambda drawn: drawn["value"] in (True, False)),
        ({"type": "string", "length": 9}, lambda drawn: len(drawn["value"]) == 9),
        ({"type": "uuid"}, lambda drawn: drawn["value"][14] == "4"),
        ({"type": "choice", "choices": ["a", "b"]}, lambda drawn: drawn["value"] in "ab"),
        ({"type": "dice", "dice": "3d8"}, lambda drawn: sum(drawn["rolls"]) == drawn["value"]),
        ({"type": "dice", "dice": "d20"}, lambda drawn: len(drawn["rolls"]) == 1),
    ],
)
async def test_random_kinds(registry: ToolRegistry, args: dict[str, Any], law: Any) -> None:
    for _ in range(20):
        assert law(await answer(registry, "random", **args))


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"min": 2, "max": 1}, "greater than max"),
        ({"type": "choice"}, "needs a list"),
        ({"type": "dice", "dice": "0d6"}, "not dice"),
        ({"type": "dice", "dice": "101d6"}, "not dice"),
        ({"type": "string", "length": 1001}, "length"),
        ({"max": 1e300}, "max"),
    ],
)
async def test_random_explains(registry: ToolRegistry, args: dict[str, Any], why: str) -> None:
    outcome = await call(registry, "random", **args)

    assert not outcome.ok
    assert why in outcome.content


@pytest.mark.parametrize(
    ("args", "result"),
    [
        ({"operation": "uppercase", "text": "aß"}, "ASS"),
        ({"operation": "lowercase", "text": "AB"}, "ab"),
        ({"operation": "title", "text": "a tale"}, "A Tale"),
        ({"operation": "reverse", "text": "abc"}, "cba"),
        ({"operation": "trim", "text": " a "}, "a"),
        ({"operation": "word_count", "text": "a  b\nc"}, 3),
        ({"operation": "count", "text": "strawberry"}, 10),
        ({"operation": "count", "text": "strawberry", "search": "r"}, 3),
        ({"operation": "contains", "text": "abc", "search": "bc"}, True),
        ({"operation": "replace", "text": "aXbX", "search": "X", "replacement": "-"}, "a-b-"),
        ({"operation": "split", "text": "a, b", "search": ", "}, ["a", "b"]),
        ({"operation": "split", "text": " a  b "}, ["a", "b"]),
    ],
)
async def test_text(registry: ToolRegistry, args: dict[str, Any], result: object) -> None:
    assert (await answer(registry, "text", **args))["result"] == result


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"operation": "replace", "text": "a"}, "needs a search text"),
        ({"operation": "contains", "text": "a", "search": ""}, "needs a search text"),
        ({"operation": "count", "text": "a" * 100_001}, "at most 100000"),
        (
            {"operation": "replace", "text": "a" * 1000, "search": "a", "replacement": "b" * 1000},
            "1000000 characters, over the limit",
        ),
    ],
)
async def test_text_explains(registry: ToolRegistry, args: dict[str, Any], why: str) -> None:
    outcome = await call(registry, "text", **args)

    assert not outcome.ok
    assert why in outcome.content
