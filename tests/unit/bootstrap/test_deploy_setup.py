"""The set-up job of a deployment waits for what is only not up yet, and for nothing else."""

import inspect
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.service import RPCError, RPCStatusCode

from bootstrap import deploy_setup
from bootstrap.settings import Settings
from bootstrap.temporal_setup import SEARCH_ATTRIBUTES, create_namespace, prepare_namespace
from domain.errors import SetupError, StoreUnavailableError

AWAY = RPCError("away", RPCStatusCode.UNAVAILABLE, b"")
DENIED = RPCError("denied", RPCStatusCode.PERMISSION_DENIED, b"")


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> list[Exception | str]:
    """What one try after the other comes to; real ones need a cluster (`make cluster`)."""
    planned: list[Exception | str] = []

    async def prepare(_: Settings) -> str:
        outcome = planned.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(deploy_setup, "prepare", prepare)
    monkeypatch.setattr(deploy_setup, "_PAUSE_SECONDS", 0)
    return planned


def test_what_is_not_up_yet_is_waited_for(
    outcomes: list[Exception | str], capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes += [StoreUnavailableError("no"), RuntimeError("no"), AWAY, "default"]

    assert deploy_setup.main() == 0
    assert "namespace default are ready" in capsys.readouterr().err


@pytest.mark.parametrize("refusal", [DENIED, SetupError("schema is newer")])
def test_a_refusal_is_told_at_once(
    outcomes: list[Exception | str], refusal: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes += [refusal, "default"]

    assert deploy_setup.main() == 1
    assert capsys.readouterr().err == f"==> not set up: {refusal}\n"


def test_patience_ends(outcomes: list[Exception | str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy_setup, "_PATIENCE", timedelta(seconds=-1))
    outcomes += [AWAY, "default"]

    assert deploy_setup.main() == 1


@pytest.mark.parametrize("make", [create_namespace, prepare_namespace])
def test_the_retention_is_the_settings_alone(make: object) -> None:
    assert callable(make)

    parameter = inspect.signature(make).parameters["retention"]

    assert parameter.default is inspect.Parameter.empty


def test_the_page_on_deploying_says_how_the_namespace_is_made() -> None:
    page = (Path(__file__).parents[3] / "docs" / "howto" / "deploy.md").read_text()

    assert f"$ python -m {deploy_setup.__name__}" in page
    assert all(f"`{name}`" in page for name in SEARCH_ATTRIBUTES)
