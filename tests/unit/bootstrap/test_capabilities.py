"""Which addresses agents and tools may be reached at, as the settings have it (attack 8)."""

import pytest

from bootstrap.capabilities import build_capabilities
from bootstrap.settings import Settings
from domain.errors import AddressRefusedError

API = "http://127.0.0.1:8080"


async def _may(settings: Settings, api: str | None, url: str) -> bool:
    can = build_capabilities(
        settings, api, "localhost:7233", "http://127.0.0.1:8233", None, "127.0.0.1:9900"
    )
    try:
        can.policy.check_url(url)
    except AddressRefusedError:
        return False
    finally:
        await can.close()
    return True


@pytest.mark.parametrize(
    ("changes", "api", "is_open"),
    [
        ({"host": "127.0.0.1"}, API, True),
        ({"host": "::1"}, "http://[::1]:8080", True),
        ({"host": "0.0.0.0"}, API, False),
        ({"host": "192.168.1.5"}, "http://192.168.1.5:8080", False),
        ({"api_url": "http://localhost:8080"}, None, True),
        ({"api_url": "http://api.internal:8080"}, None, False),
        ({}, None, False),  # a worker alone that was not told where the API is
        ({"host": "0.0.0.0", "allow_private_hosts": ("127.0.0.1",)}, API, True),
    ],
)
async def test_agents_live_on_loopback_only_where_the_api_does(
    changes: dict[str, object], api: str | None, is_open: bool
) -> None:
    settings = Settings.model_validate(changes)

    assert await _may(settings, api, "http://127.0.0.1:9000") == is_open


@pytest.mark.parametrize("port", [8080, 7233, 8233, 9900])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1", "a.localhost"])
async def test_our_own_ports_are_nobodys_agent(host: str, port: int) -> None:
    for api in (API, None):
        settings = Settings.model_validate({"allow_private_hosts": (f"{host}:{port}", "0.0.0.0/0")})

        assert not await _may(settings, api, f"http://{host}:{port}/invoke")


async def test_a_name_that_leads_to_our_own_port_is_refused_when_it_is_contacted() -> None:
    can = build_capabilities(Settings(), API, "localhost:7233", None)
    await can.close()

    with pytest.raises(AddressRefusedError, match="own"):
        can.policy.judge("rebound.example", 8080, ["127.0.0.1"])
