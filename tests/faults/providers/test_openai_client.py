"""The official OpenAI client against the running product: models passed through and translated."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from tests.faults.product import Api, Product
from tests.faults.providers.asking import Stub

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALCULATOR: Any = {
    "type": "function",
    "function": {
        "name": "calculator",
        "description": "Calculates.",
        "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}},
    },
}


def said(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.fixture
async def client(product: Product) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        api_key="none", base_url=f"{product.url}/v1", max_retries=0
    ) as made:
        yield made


async def chunks_of(
    client: openai.AsyncOpenAI, model: str, text: str = "hello", **fields: Any
) -> list[ChatCompletionChunk]:
    stream = await client.chat.completions.create(
        model=model, messages=said(text), stream=True, **fields
    )
    return [chunk async for chunk in stream]


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


# ---------------------------------------------------------------- chat


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
async def test_a_chat_and_its_stream_say_the_same(
    client: openai.AsyncOpenAI, stub: Stub, vendor: str
) -> None:
    model = await stub.model("[[tokens=9 usage_input=40 usage_cached=8]]", vendor)

    whole = await client.chat.completions.create(model=model, messages=said("hello"))
    chunks = await chunks_of(client, model, stream_options={"include_usage": True})

    assert whole.choices[0].message.content == text_of(chunks) == "t0 t1 t2 t3 t4 t5 t6 t7 t8"
    assert whole.choices[0].finish_reason == "stop"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    for usage in (whole.usage, chunks[-1].usage):
        assert usage is not None
        assert (usage.prompt_tokens, usage.completion_tokens) == (40, 9)
        assert usage.prompt_tokens_details is not None
        assert usage.prompt_tokens_details.cached_tokens == 8


async def test_the_offline_models_answer_too(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="offline/echo", messages=said("hi you"))
    chunks = await chunks_of(client, "echo", "hi you")

    assert whole.choices[0].message.content == text_of(chunks) == "[offline] hi you"
    assert all(chunk.usage is None for chunk in chunks)


async def test_bytes_go_through_as_the_provider_sent_them(
    client: openai.AsyncOpenAI, stub: Stub
) -> None:
    model = await stub.model("[[say=plain]]")

    whole = await client.chat.completions.with_raw_response.create(
        model=model, messages=said("hello"), extra_body={"x_unknown": {"deep": [1]}}
    )
    streamed = await client.chat.completions.with_raw_response.create(
        model=model, messages=said("hello"), stream=True
    )

    assert json.loads(whole.text)["x_stub"] == "passed on"
    assert whole.headers["x-model"] == streamed.headers["x-model"] == model
    first, second = [entry["asked"] for entry in await stub.log(model)]
    assert first["x_unknown"] == {"deep": [1]}
    assert (first["max_tokens"], second["max_tokens"]) == (4096, 4096)
    assert second["stream_options"] == {"include_usage": True}
    assert first["model"] == model.partition("/")[2]


async def test_a_usage_that_was_not_asked_for_is_not_shown(
    client: openai.AsyncOpenAI, stub: Stub
) -> None:
    chunks = await chunks_of(client, await stub.model("[[tokens=3]]"))

    assert all(chunk.usage is None for chunk in chunks)
    assert all(chunk.choices for chunk in chunks)


# ---------------------------------------------------------------- tools, schemas


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
async def test_parallel_tool_calls_and_their_results(
    client: openai.AsyncOpenAI, stub: Stub, vendor: str
) -> None:
    marks = '[[tool=get_weather args={"city":"Rome"}]] [[tool=get_weather args={"city":"Oslo"}]]'
    model = await stub.model(marks, vendor)

    whole = await client.chat.completions.create(
        model=model, messages=said("weather?"), tools=[WEATHER], parallel_tool_calls=True
    )
    streamed = await chunks_of(client, model, "weather?", tools=[WEATHER])

    calls = whole.choices[0].message.tool_calls
    assert calls is not None
    assert whole.choices[0].finish_reason == "tool_calls"
    cities = [
        json.loads(call.function.arguments)["city"] for call in calls if call.type == "function"
    ]
    assert cities == ["Rome", "Oslo"]
    assert arguments_of(streamed) == ['{"city":"Rome"}', '{"city":"Oslo"}']
    answered: list[Any] = [
        *said("weather?"),
        whole.choices[0].message.model_dump(exclude_none=True),
        *({"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls),
    ]
    final = await client.chat.completions.create(model=model, messages=answered, tools=[WEATHER])
    assert final.choices[0].message.content == "The tool said: sunny, sunny"


def arguments_of(chunks: list[ChatCompletionChunk]) -> list[str]:
    found: dict[int, str] = {}
    for chunk in chunks:
        for call in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            assert call.function is not None
            found[call.index] = found.get(call.index, "") + (call.function.arguments or "")
    return [text.replace(" ", "") for _, text in sorted(found.items())]


async def test_the_offline_assistant_calls_a_tool(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(
        model="offline/assistant", messages=said("What is 6 * 7?"), tools=[CALCULATOR]
    )

    calls = whole.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "calculator"


SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
            "additionalProperties": False,
        },
    },
}


async def test_a_json_schema_is_passed_on_and_translated(
    client: openai.AsyncOpenAI, stub: Stub
) -> None:
    for vendor in ("openai", "anthropic"):
        model = await stub.model('[[say="{\\"n\\":42}"]]', vendor)
        whole = await client.chat.completions.create(
            model=model, messages=said("six times seven"), response_format=SCHEMA
        )
        assert json.loads(whole.choices[0].message.content or "") == {"n": 42}
        (entry,) = await stub.log(model)
        sent = json.dumps(entry["asked"])
        assert '"json_schema"' in sent
        assert '"required": ["n"]' in sent


async def test_a_provider_that_cannot_do_what_is_asked_is_not_asked(
    client: openai.AsyncOpenAI, stub: Stub
) -> None:
    model = await stub.model("", "anthropic")
    for name, fields in {
        "response_format": {"model": "offline/echo", "response_format": SCHEMA},
        "logit_bias": {"model": model, "logit_bias": {"1": 2}},
        "n": {"model": model, "n": 2},
    }.items():
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(messages=said("hello"), **fields)
        assert caught.value.code == "not_supported"
        assert caught.value.param == name
    assert await stub.log(model) == []


# ---------------------------------------------------------------- names


async def test_models_are_listed_and_choices_of_them(client: openai.AsyncOpenAI) -> None:
    names = [model.id async for model in client.models.list()]

    assert {"auto", "tier:simple", "tier:complex", "offline/echo"} <= set(names)
    assert "agent:assistant" in names


async def test_auto_and_tiers_say_who_answered(client: openai.AsyncOpenAI) -> None:
    for name in ("auto", "tier:simple", "tier:reasoning"):
        answer = await client.chat.completions.with_raw_response.create(
            model=name, messages=said("hello")
        )
        assert "/" in answer.headers["x-model"]


async def test_a_model_that_is_not_there_is_not_found(client: openai.AsyncOpenAI) -> None:
    for name in ("nobody/nothing", "nothing", "tier:huge"):
        with pytest.raises(openai.NotFoundError) as caught:
            await client.chat.completions.create(model=name, messages=said("hello"))
        assert caught.value.param == "model"


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("marks", "status", "code"),
    [
        ("[[status=400 error_type=context_length_exceeded error_text=long]]", 400, None),
        ("[[status=429 retry_after=7]]", 429, "rate_limit_error"),
        ("[[status=500]]", 500, "api_error"),
        ("[[status=503]]", 503, "api_error"),
        ("[[status=401]]", 502, "model_auth"),
        ("[[stall]]", 504, "model_timeout"),
        ("[[keepalive_only]]", 504, "model_timeout"),
        ("[[html]]", 502, "malformed_reply"),
        ("[[garbage=invalid_json]]", 502, "malformed_reply"),
        ("[[redirect=http://127.0.0.1:1/]]", 502, None),
        ("[[half_close_after=0]]", 502, "stream_incomplete"),
        ("[[reset_after=0]]", 502, "stream_incomplete"),
        ("[[error_after=0 error_type=rate_limit_error]]", 429, "model_rate_limited"),
    ],
)
async def test_a_provider_that_fails_is_an_error_of_openai(
    client: openai.AsyncOpenAI, stub: Stub, marks: str, status: int, code: str | None
) -> None:
    model = await stub.model(marks)

    with pytest.raises(openai.APIStatusError) as caught:
        await chunks_of(client, model)

    assert caught.value.status_code == status, caught.value
    if code is not None:
        assert caught.value.code == code
    assert len(await stub.log(model)) == 1, "no retries"
    if "retry_after" in marks:
        assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "marks",
    [
        "[[tokens=9 gap_ms=10 half_close_after=4]]",
        "[[tokens=9 gap_ms=10 reset_after=4]]",
        "[[tokens=9 gap_ms=10 stall_after=4]]",
        "[[tokens=9 gap_ms=10 error_after=4]]",
        "[[tokens=9 gap_ms=10 no_done no_finish]]",
    ],
)
async def test_a_stream_that_breaks_ends_with_an_error(
    client: openai.AsyncOpenAI, stub: Stub, marks: str, vendor: str
) -> None:
    model = await stub.model(marks, vendor)
    stream = await client.chat.completions.create(model=model, messages=said("hello"), stream=True)
    texts: list[str] = []

    async def read() -> None:
        async for chunk in stream:
            texts.append(chunk.choices[0].delta.content or "")

    with pytest.raises(openai.APIError) as caught:
        await read()
    assert "".join(texts).startswith("t0 t1 t2 t3")
    assert caught.value.message


async def test_who_goes_away_takes_the_request_along(
    client: openai.AsyncOpenAI, stub: Stub
) -> None:
    for marks in ("[[stall]]", "[[tokens=9 stall_after=2]]"):
        model = await stub.model(marks)
        asking = asyncio.create_task(chunks_of(client, model))
        await stub.arrived(model)
        if "tokens" in marks:
            await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.wait({asking})
        await stub.arrived(model, "client_closed")


# ---------------------------------------------------------------- attack 10


@pytest.mark.parametrize(
    "field", ["api_base", "base_url", "api_key", "extra_headers", "API-Base", "litellm_params"]
)
async def test_a_request_does_not_choose_the_upstream(
    client: openai.AsyncOpenAI, stub: Stub, field: str
) -> None:
    model = await stub.model()

    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(
            model=model, messages=said("hello"), extra_body={field: "http://127.0.0.1:1"}
        )

    assert caught.value.param == field
    assert await stub.log(model) == []


async def test_the_product_holds_after_all_of_it(api: Api) -> None:
    assert (await api.call("GET", "/health"))["status"] == "ok"
