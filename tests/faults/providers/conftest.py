"""Fixtures: one product with short waits and one stub provider for all tests here.

Each test has models of its own at the stub.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.faults import stubborn_tools
from tests.faults.product import Api, Product, StubProcess
from tests.faults.providers.asking import ATTEMPT_SECONDS, FIRST_TOKEN_SECONDS, IDLE_SECONDS, Stub
from tests.rig.tools import TARGETS

RETRY_SECONDS = 0.05


@pytest.fixture(scope="package")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubProcess]:
    stub = StubProcess(tmp_path_factory.mktemp("provider"))
    yield stub
    stub.close()


@pytest.fixture(scope="package")
def product(provider: StubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    made = Product(
        tmp_path_factory.mktemp("product"),
        OPENAI_API_KEY="sk-stub",
        OPENAI_BASE_URL=f"{provider.url}/v1",
        ANTHROPIC_API_KEY="sk-stub",
        ANTHROPIC_BASE_URL=provider.url,
        first_token_seconds=FIRST_TOKEN_SECONDS,
        idle_seconds=IDLE_SECONDS,
        attempt_seconds=ATTEMPT_SECONDS,
        retry_seconds=RETRY_SECONDS,
        breaker_cooldown_seconds=2,  # three of many faults in a row are chance
        tools=",".join((*TARGETS, *stubborn_tools.TARGETS)),
    )
    made.start()
    try:
        yield made
        print(f"{asyncio.run(made.check())} runs hold")
    finally:
        made.close()


@pytest.fixture
async def stub(provider: StubProcess) -> AsyncIterator[Stub]:
    async with provider.client() as http:
        yield Stub(http)


@pytest.fixture
async def api(product: Product) -> AsyncIterator[Api]:
    async with product.api() as made:
        yield made
