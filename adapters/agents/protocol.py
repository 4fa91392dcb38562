"""The agent protocol's events as chunks of the domain. Opens no connection.

    event: delta
    data: {"text": "Hello", "run_id": "run_1"}

    event: done
    data: {"final_message": "Hello", "usage": {"tokens": 10}}

`state` and `error` besides; anything else is ignored, so that the protocol can grow. What an agent
sends is untrusted: each field is checked, and a field that lies (a `run_id` of another run) ends
the stream. Source: seed B.
"""

from typing import Any

from pydantic_core import from_json

from adapters.llm.sse import SseEvent
from domain.agent import AgentChunk, AgentDelta, AgentDone, AgentInvocation, AgentState
from domain.chat import ChatMessage
from domain.errors import AgentFailedError

MAX_USAGE_FIELDS = 32
"""Counters kept of what an agent reports; the rest is dropped."""


MAX_STATES = 1000
"""`state` events of one answer; each of them becomes an entry of the run's log."""
MAX_TOKENS = 10**9
"""What one answer can have used; a counter above it counts nothing and is dropped."""


class AnswerReader:
    """Reads one answer, event by event, and remembers its text."""

    def __init__(self, invocation: AgentInvocation) -> None:
        self._run_id = invocation.run_id
        self._agent_id = invocation.agent_id
        self._text: list[str] = []
        self._states = 0

    def read(self, event: SseEvent) -> AgentChunk | None:
        """Return what `event` says, None when it says nothing to us.

        Raises:
            AgentFailedError: the agent reported an error, or broke the protocol.
        """
        match event.event:
            case "delta":
                return self._delta(self._object(event))
            case "state":
                return self._state(self._object(event))
            case "done":
                return self._done(self._object(event))
            case "error":
                raise self._reported(self._object(event))
            case _:
                return None

    def _reported(self, fields: dict[str, Any]) -> AgentFailedError:
        error = self._failed(
            f"reported {self._string(fields, 'code')[:100] or 'no code'}: "
            f"{self._string(fields, 'message')[:2000]}"
        )
        error.is_answer = True
        return error

    def _delta(self, fields: dict[str, Any]) -> AgentDelta:
        text = self._string(fields, "text")
        self._text.append(text)
        return AgentDelta(text=text)

    def _state(self, fields: dict[str, Any]) -> AgentState:
        self._states += 1
        if self._states > MAX_STATES:
            raise self._failed(f"sent more than {MAX_STATES} states")
        state, detail = self._string(fields, "state"), self._string(fields, "detail")
        return AgentState(state=state[:200], detail=detail[:2000])

    def _done(self, fields: dict[str, Any]) -> AgentDone:
        final = fields.get("final_message")
        if isinstance(final, dict):
            final = self._string(final, "content")
        elif final is None:
            final = "".join(self._text)
        elif not isinstance(final, str):
            raise self._failed("sent a final_message that is neither text nor {role, content}")
        return AgentDone(final_message=_clean(final), usage=_counters(fields.get("usage")))

    def _object(self, event: SseEvent) -> dict[str, Any]:
        try:
            value = from_json(event.data, allow_inf_nan=False)
        except ValueError as error:
            raise self._failed(f"sent a {event.event} event that is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise self._failed(f"sent a {event.event} event that is not a JSON object")
        run_id = value.get("run_id")
        if run_id is not None and run_id != self._run_id:
            raise self._failed(f"sent a {event.event} of another run ({ascii(run_id)[:120]})")
        return value

    def _string(self, fields: dict[str, Any], name: str) -> str:
        value = fields.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._failed(f"sent a {name} that is not text")
        return _clean(value)

    def _failed(self, what: str) -> AgentFailedError:
        return AgentFailedError(f"agent {self._agent_id} {what}")


def request_body(invocation: AgentInvocation) -> dict[str, Any]:
    """Return what `POST /invoke` sends."""
    return {
        "agent_id": invocation.agent_id,
        "session_id": invocation.session_id,
        "run_id": invocation.run_id,
        "input_message": _message(invocation.input_message),
        "messages": [_message(message) for message in invocation.messages],
        "context": invocation.context,
    }


def _message(message: ChatMessage) -> dict[str, Any]:
    """Return `{role, content}`, and the tool fields only where they say something."""
    return {
        "role": message.role,
        "content": message.content,
        **message.model_dump(exclude={"role", "content"}, exclude_defaults=True),
    }


def _clean(text: str) -> str:
    """Replace NUL, which PostgreSQL cannot store in a text."""
    return text.replace("\0", "\ufffd")


def _counters(usage: object) -> dict[str, int]:
    """Keep the whole, non-negative numbers of what an agent reports as usage."""
    if not isinstance(usage, dict):
        return {}
    kept = {
        _clean(name[:100]): value
        for name, value in usage.items()
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKENS
    }
    return dict(list(kept.items())[:MAX_USAGE_FIELDS])
