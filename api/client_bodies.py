"""What tool hosts and clients send."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from api.requests import Body, ClientToolBody, JsonObject, Name
from api.schemas import HostId

Token = Annotated[str, Field(min_length=1, max_length=200, description="From the claim or poll.")]


class HostBody(Body):
    """A tool host to register. It counts as there for `lease_seconds` after it was heard of."""

    tools: Annotated[list[ClientToolBody], Field(max_length=100)]
    lease_seconds: Annotated[float, Field(ge=1, le=3600)] = 30.0

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "tools": [
                        {
                            "name": "read_sensor",
                            "description": "Read a sensor of this machine.",
                            "parameters": {
                                "type": "object",
                                "properties": {"sensor": {"type": "string"}},
                            },
                            "effect": "none",
                        }
                    ]
                }
            ]
        }
    )


class BeatBody(Body):
    """What a host still works on."""

    tool_calls: Annotated[list[Name], Field(max_length=1000)] = Field(default_factory=list)

    model_config = ConfigDict(json_schema_extra={"examples": [{"tool_calls": ["tc_01k9"]}]})


class PollBody(Body):
    """How much a host takes at once, and how long it waits for the first request."""

    max: Annotated[int, Field(ge=1, le=100)] = 1
    wait_seconds: Annotated[float, Field(ge=0, le=60)] = 0.0

    model_config = ConfigDict(json_schema_extra={"examples": [{"max": 2, "wait_seconds": 20}]})


class ClaimBody(Body):
    """Who takes a request: a tool host, or null for a client that is none."""

    host_id: HostId | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"host_id": "laptop-1"}]})


class WaitBody(Body):
    """How long to wait for a call's end, in milliseconds; as `?timeout_ms=` says it."""

    timeout_ms: Annotated[int, Field(ge=0, le=60_000)] = 30_000

    model_config = ConfigDict(json_schema_extra={"examples": [{"timeout_ms": 10000}]})


class ErrorBody(Body):
    """Why a client could not do what was asked; the model reads it."""

    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = "tool_error"
    message: Annotated[str, Field(min_length=1, max_length=10_000)]


class SubmitBody(Body):
    """What a tool returned: any JSON as `result`, or an `error`."""

    token: Token
    result: Any = None
    error: ErrorBody | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"token": "dt_...", "result": {"celsius": 21.5}}]}
    )


class SeedToolBody(Body):
    """A tool as seed B's clients register it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    schema_: Annotated[JsonObject, Field(alias="schema")] = Field(default_factory=dict)
    timeout_ms: Annotated[int, Field(ge=1, le=86_400_000)] = 60_000


class SeedRegisterToolsBody(Body):
    """Seed B's way to register a tool host."""

    client_id: HostId
    tools: Annotated[list[SeedToolBody], Field(max_length=100)]

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "client_id": "laptop-1",
                    "tools": [{"name": "read_sensor", "schema": {"type": "object"}}],
                }
            ]
        }
    )


class SeedSubmitBody(Body):
    """Seed B's way to send a result, with the token that it lacked."""

    status: Literal["SUCCEEDED", "FAILED"]
    token: Token
    result: Any = None
    error: Any = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"status": "SUCCEEDED", "token": "dt_...", "result": {"celsius": 21.5}}]
        }
    )
