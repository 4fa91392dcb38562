"""Bad input of every kind gets a 4xx that says what and where (attacks 22, 24; fault 20)."""

import gzip
import re

import httpx2
import pytest

from tests.fakes.world import World

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"input":"\\ud800"}',
        b'{"input":"a\\u0000b"}',
        b'{"input":"x","metadata":{"\\u0000":1}}',
        b'{"input":"x","metadata":{"a":[1e999]}}',
        b'{"input":"x","metadata":{"b":NaN}}',
        b'{"input":"x","metadata":{"a":' + b"9" * 5000 + b"}}",
        b'{"input":"x","metadata":' + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"}",
        b"[" * 100_000,
    ],
    ids=lambda body: f"{body[:34]!r}-{len(body)}",
)
async def test_what_is_no_json_or_could_do_harm_is_refused(
    client: httpx2.AsyncClient, world: World, body: bytes
) -> None:
    answer = await client.post("/v1/runs", content=body, headers=JSON)

    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert world.runs.accepted == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.input"),
        ({"input": ""}, "body.input"),
        ({"input": " \t\n\u2003"}, "body.input"),
        ({"input": {"role": "user", "content": "  "}}, "body.input.content"),
        ({"input": {"role": "user"}}, "body.input.content"),
        ({"input": 7}, "body.input"),
        ({"input": None}, "body.input"),
        ({"input": {"role": "system", "content": "x"}}, "body.input"),
        ({"input": "x", "unknown": 1}, "body.unknown"),
        ({"input": "x", "priority": "3"}, "body.priority"),
        ({"input": "x", "priority": True}, "body.priority"),
        ({"input": "x", "priority": 6}, "body.priority"),
        ({"input": "x", "agent_id": "../etc/passwd"}, "body.agent_id"),
        ({"input": "x", "session_id": "a/b"}, "body.session_id"),
        ({"input": "x", "on_busy": "explode"}, "body.on_busy"),
        ({"input": "x", "limits": {"max_turns": 0}}, "body.limits.max_turns"),
        ({"input": "x", "limits": {"max_cost_usd": "-1"}}, "body.limits.max_cost_usd"),
        ({"input": "x", "limits": {"max_cost_usd": 1}}, "body.limits.max_cost_usd"),
        ({"input": "x", "limits": {"max_wishes": 3}}, "body.limits.max_wishes"),
        ({"input": "x", "metadata": []}, "body.metadata"),
        ([], "body"),
        ("text", "body"),
    ],
    ids=str,
)
async def test_a_wrong_field_is_named(
    client: httpx2.AsyncClient, world: World, body: object, field: str
) -> None:
    answer = await client.post("/v1/runs", json=body)

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_request"
    places = [item["field"] for item in answer.json()["errors"]]
    assert any(place.startswith(field) for place in places)
    assert all(re.fullmatch(r"[a-z_.]+", place) for place in places), "no words of our types"
    assert len(places) == 1
    assert world.runs.accepted == []


@pytest.mark.parametrize(
    ("body", "place", "what"),
    [
        (b'{"input":"a\\u0000b"}', "body.input", "a NUL character"),
        (b'{"input":"x","metadata":{"a":[1,{"b":"\\u0000"}]}}', "body.metadata.a.1.b", "NUL"),
        (b'{"input":"x","metadata":{"\\u0000":1}}', "body.metadata", "a key with a NUL"),
        (b'{"input":"x","context":{"n":[0,1e999]}}', "body.context.n.1", "too large"),
    ],
)
async def test_what_could_do_harm_is_named_with_its_place(
    client: httpx2.AsyncClient, body: bytes, place: str, what: str
) -> None:
    answer = await client.post("/v1/runs", content=body, headers=JSON)

    assert answer.status_code == 400
    assert answer.json()["code"] == "malformed_json"
    assert answer.json()["errors"][0]["field"] == place
    assert what in answer.json()["detail"]
    assert place in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"input":"x","input":"y"}', "'input'"),
        (b'{"input":"x","metadata":{"a":[{"b":1,"c":2,"\\u0062":3}]}}', "'b'"),
    ],
)
async def test_a_key_that_stands_twice_is_refused(
    client: httpx2.AsyncClient, world: World, body: bytes, key: str
) -> None:
    """Two readers of such a body could see two different requests."""
    answer = await client.post("/v1/runs", content=body, headers=JSON)

    assert answer.status_code == 400
    assert answer.json()["code"] == "malformed_json"
    assert f"the key {key} stands twice" in answer.json()["detail"]
    assert world.runs.accepted == []


async def test_a_body_that_is_compressed_is_refused_as_such(client: httpx2.AsyncClient) -> None:
    body = gzip.compress(b'{"input":"x"}')

    refused = await client.post(
        "/v1/runs", content=body, headers={**JSON, "content-encoding": "gzip"}
    )
    plain = await client.post(
        "/v1/runs", content=b'{"input":"x"}', headers={**JSON, "content-encoding": "identity"}
    )

    assert refused.status_code == 415
    assert refused.headers["accept-encoding"] == "identity"
    assert "Content-Encoding" in refused.json()["detail"]
    assert plain.status_code == 202


@pytest.mark.parametrize(
    ("charset", "status"),
    [("utf-8", 202), ('"UTF-8"', 202), ("us-ascii", 202), ("utf-16", 415), ("latin-1", 415)],
)
async def test_a_body_in_another_charset_is_refused(
    client: httpx2.AsyncClient, charset: str, status: int
) -> None:
    headers = {"content-type": f"application/json; charset={charset}"}

    answer = await client.post("/v1/runs", content=b'{"input":"x"}', headers=headers)

    assert answer.status_code == status
    assert status == 202 or "send the body in utf-8" in answer.json()["detail"]


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_of_another_type_is_refused(client: httpx2.AsyncClient, media: str) -> None:
    """Attack 11: a plain form of another page is not taken for JSON."""
    headers = {"content-type": media} if media else {}

    answer = await client.post("/v1/runs", content=b'{"input":"x"}', headers=headers)

    assert answer.status_code == 415
    assert answer.json()["code"] == "unsupported_media_type"


async def test_big_numbers_and_exponents_that_are_finite_pass(
    client: httpx2.AsyncClient, world: World
) -> None:
    body = b'{"input":"x","metadata":{"a":[1e10,{"b":1.5e+20}],"c":123456789012345678901234}}'

    answer = await client.post("/v1/runs", content=body, headers=JSON)

    assert answer.status_code == 202
    assert world.runs.accepted[0].metadata == {
        "a": [1e10, {"b": 1.5e20}],
        "c": 123456789012345678901234,
    }


async def test_text_that_only_looks_like_an_escape_passes(
    client: httpx2.AsyncClient, world: World
) -> None:
    answer = await client.post("/v1/runs", content=b'{"input":"a\\\\u0000b"}', headers=JSON)

    assert answer.status_code == 202
    assert world.runs.accepted[0].content == "a\\u0000b"


async def test_a_body_that_may_be_left_out_may_be_left_out(client: httpx2.AsyncClient) -> None:
    run_id = (await client.post("/v1/runs", json={"input": "x"})).json()["run_id"]

    answer = await client.post(f"/v1/runs/{run_id}/cancel")

    assert answer.status_code == 202


async def test_fifty_wrong_fields_are_named_and_no_more(client: httpx2.AsyncClient) -> None:
    body = {"input": "x", **{f"f{number}": 1 for number in range(500)}}

    answer = await client.post("/v1/runs", json=body)

    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 50


@pytest.mark.parametrize(
    "path",
    [
        "/v1/runs/%00",
        "/v1/runs/..%2f..%2fetc%2fpasswd",
        "/v1/runs/%ed%a0%80",
        "/v1/runs?cursor=%00",
        "/v1/runs?limit=0",
        "/v1/runs?limit=1001",
        "/v1/runs?limit=x",
        "/v1/runs?state=LOST",
        "/v1/runs?agent_id=' OR 1=1 --",
        "/v1/runs/run_1/events?after_seq=-1",
        "/v1/runs/run_1/events?after_seq=99999999999999999999",
        "/v1/runs/run_1/events?types=a;drop table events",
        "/v1/tool_calls?status=lost",
    ],
)
async def test_wrong_parameters_are_named(client: httpx2.AsyncClient, path: str) -> None:
    """Attacks 21 and 23: names of filters and ids are checked before anything is asked."""
    answer = await client.get(path)

    assert answer.status_code in {404, 422}
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/v1/runs?nonsense=1", "nonsense"),
        ("GET", "/v1/runs/run_1/events?after=3", "after"),
        ("GET", "/v1/agents?state=DONE", "state"),
        ("GET", "/v1/tools?state=3", "state"),
        ("GET", "/v1/logs/stream?lvl=error", "lvl"),
        ("POST", "/v1/runs?wiat=3", "wiat"),
        ("DELETE", "/v1/sessions/s1?force=true", "force"),
    ],
)
async def test_a_query_parameter_that_nobody_knows_is_named(
    client: httpx2.AsyncClient, world: World, method: str, path: str, name: str
) -> None:
    body = {"json": {"input": "x"}} if method == "POST" else {}
    answer = await client.request(method, path, **body)  # type: ignore[arg-type]

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "invalid_request"
    assert f"'{name}'" in answer.json()["detail"]
    assert answer.json()["errors"][0]["field"] == f"query.{name}"
    assert world.runs.accepted == []


@pytest.mark.parametrize("name", ["waiting_on"])
async def test_a_query_parameter_of_a_later_release_is_not_supported(
    client: httpx2.AsyncClient, name: str
) -> None:
    answer = await client.get(f"/v1/runs?{name}=approval&nonsense=1")

    assert answer.status_code == 422
    assert answer.json()["code"] == "not_supported"
    assert name in answer.json()["detail"]


async def test_parameters_that_a_path_declares_are_taken(client: httpx2.AsyncClient) -> None:
    paths = ["/v1/runs?state=DONE&kind=agent&limit=1", "/v1/agents?limit=1", "/v1/sessions?limit=1"]

    assert [(await client.get(path)).status_code for path in paths] == [200, 200, 200]


async def test_foreign_paths_ignore_parameters_that_they_do_not_know(
    client: httpx2.AsyncClient,
) -> None:
    paths = ["/v1/models?a=1", "/api/v1/agents?a=1", "/version?a=1"]

    assert [(await client.get(path)).status_code for path in paths] == [200, 200, 200]


async def test_an_event_type_that_there_is_not_is_named(client: httpx2.AsyncClient) -> None:
    run_id = (await client.post("/v1/runs?wait=5", json={"input": "x"})).json()["run_id"]

    answer = await client.get(f"/v1/runs/{run_id}/events?types=run_done,nope")

    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"field": "query.types", "message": "there is no event type nope"}
    ]
