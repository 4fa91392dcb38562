"""The OpenAPI document: complete, committed, and true."""

import asyncio
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from pydantic import BaseModel
from schemathesis.checks import not_a_server_error
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source
from schemathesis.python.asgi import ASGIClient, get_client
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from api.export_openapi import render
from domain.principal import Scope
from tests.fakes.world import World, fake_config

COMMITTED = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
DOCUMENT = json.loads(COMMITTED.read_text(encoding="utf-8"))
"""What we serve, as the first test here holds; making it takes a second, in every process."""
_WORLD = World()
_KEY = _WORLD.add_key(Scope.ADMIN)
asyncio.run(_WORLD.furnish())
_APP = create_app(_WORLD.ports(), fake_config(max_wait_seconds=0.05))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            yield method, path, operation


def _label(param: tuple[str, str, dict[str, Any]]) -> str:
    method, path, _ = param
    return f"{method.upper()} {path}"


@pytest.fixture(scope="module")
def schema() -> BaseSchema:
    """Our document as Schemathesis reads it; a pattern is spelled so that it is left alone.

    `\\S` beside a `maxLength` would be folded into `^\\S{1,1000000}$`: input without any space, and
    seconds to compile each time it is met.
    """
    text = json.dumps(DOCUMENT).replace(json.dumps(r"\S"), json.dumps(r"\S(?=)"))
    read = schemathesis.openapi.from_dict(json.loads(text))
    read.app = _APP
    return read


@pytest.fixture(scope="module")
def feedback(schema: BaseSchema) -> FeedbackSources:
    """What our own code compares with, as values to try."""
    return FeedbackSources(constants_value_source=make_constants_value_source(schema))


def test_the_committed_document_is_the_one_we_serve() -> None:
    """`python -m api.export_openapi docs/reference/openapi.json` writes it."""
    assert COMMITTED.read_text(encoding="utf-8") == render()


def test_every_operation_has_a_name_a_tag_and_a_sentence() -> None:
    names = [operation["operationId"] for _, _, operation in _operations()]
    tags = {tag["name"] for tag in DOCUMENT["tags"]}

    assert len(set(names)) == len(names)
    assert all("_" in name and name == name.lower() for name in names)
    assert all(set(operation["tags"]) <= tags for _, _, operation in _operations())
    assert all(operation["description"] for _, _, operation in _operations())


def test_every_operation_but_the_probes_names_its_scope_and_its_credential() -> None:
    public = {"/livez", "/readyz", "/health"}

    for _, path, operation in _operations():
        assert ("x-required-scope" in operation) == (path not in public), path
        assert ("security" in operation) == (path not in public), path


def test_what_is_refused_before_its_path_is_looked_at_has_one_shape() -> None:
    """Too many headers: the server answers before it knows whose path it is."""
    refused = {"$ref": "#/components/responses/native431"}

    for _, path, operation in _operations():
        assert operation["responses"]["431"] == refused, path


def test_every_answer_but_plain_text_has_a_schema() -> None:
    for _, path, operation in _operations():
        for status, answer in operation["responses"].items():
            if "$ref" in answer or status == "204":
                continue
            assert all(media["schema"] for media in answer["content"].values()), (path, status)


def _models() -> Iterator[type[BaseModel]]:
    for name in (
        "api.requests",
        "api.agent_bodies",
        "api.money_bodies",
        "api.shapes.money",
        "api.shapes.catalog",
        "api.shapes.talk",
        "api.shapes.work",
    ):
        for thing in vars(import_module(name)).values():
            if isinstance(thing, type) and issubclass(thing, BaseModel) and thing is not BaseModel:
                yield thing


def test_every_example_is_one() -> None:
    """An example that its own schema would refuse misleads whoever copies it."""
    tried = 0

    for model in _models():
        for example in model.model_json_schema().get("examples", []):
            model.model_validate(example)
            tried += 1

    assert tried >= 12


@pytest.fixture(scope="module")
def client() -> Iterator[ASGIClient]:
    """One for all requests, without looking for proxies for each."""
    app: Any = _APP  # its types want a stricter one
    with get_client(app) as client:
        client.trust_env = False
        yield client


@pytest.mark.untraced  # thousands of requests through lines that the API's own tests cover
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("most", "drawn"),
    [pytest.param(30, 0, id="some"), pytest.param(None, 25, marks=pytest.mark.heavy, id="all")],
)
@pytest.mark.parametrize("operation", list(_operations()), ids=_label)
def test_no_request_gets_a_5xx_or_what_the_document_does_not_name(
    operation: tuple[str, str, dict[str, Any]],
    schema: BaseSchema,
    feedback: FeedbackSources,
    client: ASGIClient,
    most: int | None,
    drawn: int,
) -> None:
    """Cases for each limit of the schema, at most so many of them; then some drawn at random.

    They are made here: `schema.parametrize` makes those of all operations at collection.
    """
    method, path, said = operation

    @settings(
        max_examples=drawn or 1,
        phases=[Phase.explicit, Phase.generate] if drawn else [Phase.explicit],
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    def hold(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(
            base_url="http://localhost",
            session=client,
            headers={"Authorization": f"Bearer {_KEY}"},
            checks=CHECKS,
        )

    hold_all: Any = build_operation_test(
        config=schema.config,
        operation=schema[path][method],
        test_func=hold,
        given_kwargs={},
        feedback=feedback,
    )
    cases = hold_all.hypothesis_explicit_examples
    assert cases or not (said.get("parameters") or said.get("requestBody"))
    step = 1 if most is None else max(1, -(-len(cases) // most))
    hold_all.hypothesis_explicit_examples = cases[::step]

    hold_all()
