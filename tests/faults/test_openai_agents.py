"""`agent:<id>` streamed through the official OpenAI client while the worker is killed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import openai
import pytest

from tests.faults.conftest import sse_words
from tests.faults.kill_scenes import expected
from tests.rig.roles import Role
from tests.rig.world import World

pytestmark = pytest.mark.timeout(300)
WORDS = 60
KILL_AFTER = 10


@dataclass
class Reading:
    """A stream as its reader sees it."""

    chunks: AsyncIterator[Any]
    headers: Any
    texts: list[str] = field(default_factory=list)
    reason: str | None = None

    @classmethod
    async def begin(cls, client: openai.AsyncOpenAI, script: str, **headers: str) -> "Reading":
        answer = await client.chat.completions.with_raw_response.create(
            model="agent:helper",
            messages=[{"role": "user", "content": script}],
            stream=True,
            extra_headers=headers,
        )
        return cls(aiter(answer.parse()), answer.headers)

    async def take(self, count: int | None = None) -> str:
        """Read so many pieces of text, or all; return what came until now."""
        async for chunk in self.chunks:
            self.reason = chunk.choices[0].finish_reason or self.reason
            if chunk.choices[0].delta.content:
                self.texts.append(chunk.choices[0].delta.content)
            if count is not None and len(self.texts) >= count:
                break
        return "".join(self.texts)


@pytest.fixture
async def client() -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="none", base_url="http://unset", max_retries=0) as made:
        yield made


async def ready(world: World, client: openai.AsyncOpenAI) -> Role:
    """Start the roles apart; return the worker."""
    _, (worker,) = await world.apart()
    await world.agent()
    client.base_url = f"{world.url}/v1"
    return worker


async def test_the_same_text_again_is_one_whole_answer(
    world: World, client: openai.AsyncOpenAI
) -> None:
    worker = await ready(world, client)
    reading = await Reading.begin(client, sse_words(WORDS))
    await reading.take(KILL_AFTER)

    worker.kill()
    await world.worker()
    text = await reading.take()

    assert text == expected(WORDS)
    assert reading.reason == "stop"
    run_id = reading.headers["x-run-id"]
    books = await world.check()
    assert books.answer(run_id) == text
    assert len([row for row in books.tables["usage"] if row["run_id"] == run_id]) == 2


async def test_another_text_is_a_clean_error(world: World, client: openai.AsyncOpenAI) -> None:
    worker = await ready(world, client)
    reading = await Reading.begin(client, sse_words(WORDS) + " clock")
    await reading.take(KILL_AFTER)

    worker.kill()
    await world.worker()
    with pytest.raises(openai.APIError) as caught:
        await reading.take()

    assert caught.value.code == "text_changed"
    run_id = reading.headers["x-run-id"]
    assert (await world.ended(run_id))["state"] == "DONE", "the run itself goes on"
    await world.check()


async def test_committed_text_is_whole_whatever_attempts_said(
    world: World, client: openai.AsyncOpenAI
) -> None:
    worker = await ready(world, client)
    reading = await Reading.begin(client, sse_words(WORDS) + " clock", **{"x-stream": "committed"})
    run_id = reading.headers["x-run-id"]
    await world.watch(run_id).sees("agent_stream_delta", KILL_AFTER)

    worker.kill()
    await world.worker()
    text = await reading.take()

    books = await world.check()
    assert books.answer(run_id) == text
    assert len(text.split()) == WORDS + 1, "with the label"


async def test_a_run_goes_on_when_its_caller_is_gone(
    world: World, client: openai.AsyncOpenAI
) -> None:
    await ready(world, client)
    reading = await Reading.begin(client, sse_words(WORDS))
    await reading.take(KILL_AFTER)

    await client.close()

    assert (await world.ended(reading.headers["x-run-id"]))["state"] == "DONE"
    await world.check()
