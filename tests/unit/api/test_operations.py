"""Probes, metrics, pages and seed B's way in."""

import asyncio
from dataclasses import replace

import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client import generate_latest

from api.app import create_app, drain
from api.metrics import Metrics
from domain.errors import EngineMismatchError
from domain.principal import Scope
from domain.push import PushLag
from domain.spending import ModelHealth
from domain.stats import RunStats, ToolTrouble
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect


async def test_all_is_well(client: httpx2.AsyncClient) -> None:
    live, ready, health = [await client.get(path) for path in ("/livez", "/readyz", "/health")]

    assert live.json() == {"status": "ok"}
    assert ready.json() == {
        "ready": True,
        "checks": {
            "engine": {"ok": True, "detail": None},
            "store": {"ok": True, "detail": None},
        },
    }
    assert health.json()["status"] == "ok"


async def test_a_dead_engine_degrades_and_does_not_kill(
    client: httpx2.AsyncClient, world: World
) -> None:
    """Fault 5: `/health` is degraded, not dead; `/readyz` says what is wrong."""
    world.gateway.trouble = "the Temporal server cannot be reached"

    live, ready, health = [await client.get(path) for path in ("/livez", "/readyz", "/health")]

    assert live.status_code == 200
    assert ready.status_code == 503
    assert ready.json()["checks"]["engine"]["detail"] == world.gateway.trouble
    assert health.status_code == 200
    assert health.json()["status"] == "degraded"


async def test_stuck_runs_degrade_and_leave_the_process_ready(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.stuck = ["run_1", "run_2"]

    ready, health, metrics = [await client.get(path) for path in ("/readyz", "/health", "/metrics")]

    assert ready.status_code == 200
    assert health.json()["status"] == "degraded"
    assert health.json()["checks"]["runs"]["detail"].startswith("stuck runs: 2;")
    assert "run_1" not in health.text, "whoever asks need not be their owner"
    assert "orchestrator_runs_stuck 2.0" in metrics.text


async def test_a_check_that_hangs_or_fails_is_a_failed_check(
    client: httpx2.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.health._CHECK_SECONDS", 0.05)

    async def hang() -> str | None:
        await asyncio.sleep(60)
        return None

    async def fail() -> str | None:
        raise EngineMismatchError("another cluster")

    async def crash() -> str | None:
        raise RuntimeError("secret detail")

    world.gateway.check = hang  # type: ignore[method-assign]
    hung = (await client.get("/readyz")).json()["checks"]["engine"]
    world.gateway.check = fail  # type: ignore[method-assign]
    failed = (await client.get("/readyz")).json()["checks"]["engine"]

    world.gateway.check = crash  # type: ignore[method-assign]
    crashed = (await client.get("/health")).json()["checks"]["engine"]

    assert crashed == {"ok": False, "detail": "the check failed: RuntimeError"}
    assert hung == {"ok": False, "detail": "no answer within 0.05 s"}
    assert failed == {"ok": False, "detail": "another cluster"}


async def test_a_shutdown_is_visible_and_refuses_new_work(
    app: FastAPI, client: httpx2.AsyncClient
) -> None:
    await drain(app, 1)

    ready = await client.get("/readyz")
    health = await client.get("/health")
    work = await client.post("/v1/runs", json={"input": "x"})

    assert ready.status_code == 503
    assert ready.json()["checks"]["intake"]["ok"] is False
    assert health.json()["status"] == "draining"
    assert work.status_code == 503
    assert work.json()["code"] == "draining"


async def test_metrics_tell_of_requests_runs_and_streams(
    client: httpx2.AsyncClient, world: World
) -> None:
    await client.post("/v1/runs", json={"input": "x"}, headers={"accept": "text/event-stream"})
    await client.get("/nowhere")
    await client.request("BREW", "/v1/runs")

    answer = await client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in (
        'orchestrator_http_requests_total{method="POST",route="/v1/runs",status="200"} 1.0',
        'orchestrator_http_requests_total{method="GET",route="(none)",status="404"} 1.0',
        'orchestrator_http_requests_total{method="other",route="/v1/runs",status="405"} 1.0',
        'orchestrator_runs{state="DONE"} 1.0',
        "orchestrator_run_success_ratio 1.0",
        'orchestrator_run_duration_seconds{quantile="0.95"} 0.02',
        'orchestrator_run_start_wait_seconds{quantile="0.95"} 0.001',
        'orchestrator_worker_slots{state="busy"} 1.0',
        "orchestrator_sse_clients 0.0",
        "orchestrator_tools_left_running 0.0",
        "orchestrator_event_loop_stalls_total 0.0",
    ):
        assert line in answer.text, line
    assert "orchestrator_event_lateness_seconds_count 0.0" not in answer.text


def test_figures_that_are_not_known_yet_are_no_numbers() -> None:
    stats = RunStats(
        total=0,
        by_state={},
        waiting={"session": 2},
        average_ms=None,
        p50_ms=None,
        p95_ms=None,
        wait_p95_ms=None,
        failed_tool_runs=3,
    )

    text = Metrics().exposition(stats, []).decode()

    assert "orchestrator_run_success_ratio NaN" in text
    assert 'orchestrator_runs_waiting{on="session"} 2.0' in text
    assert "orchestrator_tool_runs_failed 3.0" in text


def test_what_tools_do_to_the_loop_is_told_at_every_scrape() -> None:
    metrics = Metrics()

    for stalls, left in ((2, 1), (2, 1), (3, 0)):
        metrics.set_tools(ToolTrouble(loop_stalls=stalls, left_running=left))
        text = generate_latest(metrics.registry).decode()
        assert f"orchestrator_event_loop_stalls_total {stalls}.0" in text
        assert f"orchestrator_tools_left_running {left}.0" in text


async def test_the_first_page_and_the_documentation_need_no_other_server(
    client: httpx2.AsyncClient,
) -> None:
    home = await client.get("/")
    docs = await client.get("/docs")
    files = [
        await client.get(f"/static/{name}")
        for name in ("swagger-ui-bundle.js", "swagger-ui.css", "docs.js", "home.css")
    ]

    assert "unsafe" not in home.headers["content-security-policy"]
    assert "script-src 'self';" in docs.headers["content-security-policy"]
    for page in (home, docs):
        assert page.status_code == 200
        assert "http://" not in page.text.replace("http://localhost", "")
        assert "https://" not in page.text
    assert [answer.status_code for answer in files] == [200] * 4
    assert len(files[0].content) > 1_000_000
    assert files[0].headers["cache-control"] == "max-age=3600"


@pytest.mark.parametrize(
    "name",
    [
        "nothing.js",
        "README.md",
        "..%2f..%2fapp.py",
        "%2e%2e/app.py",
        "..%5capp.py",
        "%00",
        "docs.js%00.html",
        "/etc/passwd",
        "swagger-ui.LICENSE",
    ],
)
async def test_no_other_file_is_served(client: httpx2.AsyncClient, name: str) -> None:
    """Attack 23."""
    answer = await client.get(f"/static/{name}")

    assert answer.status_code in {404, 422}
    assert answer.headers["content-type"] == "application/problem+json"


async def test_models_stand_in_openais_list(client: httpx2.AsyncClient) -> None:
    listed = (await client.get("/v1/models")).json()

    assert listed["object"] == "list"
    tiers = [f"tier:{tier}" for tier in ("simple", "medium", "complex", "critical")]
    offline = [f"offline/{name}" for name in ("echo", "assistant", "script")]
    models = [*offline, "raw/one", "openai/gpt-x"]
    names = [model["id"] for model in listed["data"]]
    assert names == [*models, "auto", *tiers, "agent:assistant"]
    assert listed["data"][0]["price"]["input_per_mtok_usd"] == "0"


async def test_failures_on_openais_paths_have_openais_shape(world: World, connect: Connect) -> None:
    app = create_app(world.ports(), fake_config())

    answer = await connect(app, world.add_key(Scope.INVOKE)).get("/v1/models")

    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "forbidden"
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_seed_bs_invoke_starts_a_run_once(client: httpx2.AsyncClient, world: World) -> None:
    body = {
        "session_id": "sess_001",
        "agent_id": "assistant",
        "input_message": {"role": "user", "content": "Hello, how are you?"},
        "request_id": "req-1",
        "context": {"a": 1},
    }

    first = await client.post("/internal/invoke", json=body)
    again = await client.post("/internal/invoke", json=body)
    other = await client.post("/internal/invoke", json={**body, "context": {}})

    assert first.status_code == 202
    assert set(first.json()) == {"run_id", "session_id", "agent_id"}
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert other.status_code == 409
    assert other.json() == {
        "error": {
            "code": "idempotency_key_conflict",
            "message": "the key was used with another body",
        }
    }
    assert world.runs.accepted[0].spec.context == {"a": 1}


async def test_the_version_is_told(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/version")).json()["name"] == "durable-orchestrator"


@pytest.mark.parametrize("host", ["localhost:1234", "127.0.0.1", "[::1]:8080"])
async def test_the_first_pages_example_goes_where_the_page_came_from(
    client: httpx2.AsyncClient, host: str
) -> None:
    page = await client.get("/", headers={"host": host})

    assert f"curl -N http://{host}/v1/runs" in page.text


async def test_a_host_header_puts_nothing_into_the_first_page(client: httpx2.AsyncClient) -> None:
    page = await client.get("/", headers={"host": "localhost/<script>"})

    assert "<script>" not in page.text


@pytest.mark.parametrize(("oldest_ms", "status"), [(59_000, "ok"), (61_000, "degraded")])
async def test_a_receiver_that_is_behind_is_told(
    world: World, connect: Connect, oldest_ms: int, status: str
) -> None:
    async def lag() -> PushLag | None:
        return PushLag(events=7, runs=2, failing=1, oldest_ms=oldest_ms, error="HTTP 500")

    client = connect(create_app(replace(world.ports(), push_lag=lag), fake_config()))

    ready, health, metrics = [await client.get(path) for path in ("/readyz", "/health", "/metrics")]
    again = await client.get("/metrics")

    assert ready.status_code == 200
    assert "ingress" not in ready.json()["checks"]
    assert health.json()["status"] == status
    assert health.json()["checks"]["ingress"]["ok"] is (status == "ok")
    for text in (metrics.text, again.text):
        assert "orchestrator_ingress_events_behind 7.0" in text
        assert "orchestrator_ingress_runs_failing 1.0" in text
        assert f"orchestrator_ingress_lag_seconds {oldest_ms / 1000}" in text


async def test_without_a_receiver_nothing_is_said_of_one(client: httpx2.AsyncClient) -> None:
    assert "ingress" not in (await client.get("/metrics")).text
    assert "ingress" not in (await client.get("/health")).json()["checks"]


async def test_how_models_do_is_listed_with_them(client: httpx2.AsyncClient, world: World) -> None:
    world.model_health.rows = [
        ModelHealth(
            "openai/not-listed",
            state="degraded",
            circuit="open",
            failures=3,
            error_class="timeout",
            error_message="no word",
            open_until=60_000,
        )
    ]

    listed = {row["id"]: row for row in (await client.get("/v1/models")).json()["data"]}

    assert listed["offline/echo"]["health"]["state"] == "unknown"
    health = listed["openai/not-listed"]["health"]
    assert (health["state"], health["circuit"], health["failures"]) == ("degraded", "open", 3)
    assert (health["error_class"], health["open_until"]) == ("timeout", "1970-01-01T00:01:00.000Z")
    assert listed["auto"]["health"] is None
