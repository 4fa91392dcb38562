"""A conversation that a client brings along, as what a run is asked.

A run's conversation is its session's. A client that keeps its own sends all of it each time: the
last message is what is asked, and what came before stands above it, as text.
"""

from typing import Any

from domain.errors import InvalidRequestError, NotSupportedError

_SYSTEM = frozenset({"system", "developer"})


def run_input(messages: list[dict[str, Any]], *, in_session: bool) -> str:
    """Return what a run is asked; in a session of ours that is the last message alone.

    Raises:
        InvalidRequestError: the last message is not the user's, or says nothing.
        NotSupportedError: it holds something other than text.
    """
    *earlier, last = messages
    if last.get("role") != "user":
        raise _wrong("the last message is what is asked: it is the user's")
    asked = _text(last)
    if not asked.strip():
        raise _wrong("the last message says nothing")
    if in_session or not earlier:
        return asked
    rules = [_text(message) for message in earlier if message.get("role") in _SYSTEM]
    talk = [
        f"{message.get('role')}: {_text(message)}"
        for message in earlier
        if message.get("role") not in _SYSTEM and _text(message)
    ]
    parts = [*rules]
    if talk:
        parts += ["Earlier in this conversation:", *talk, "Now the user says:"]
    return "\n\n".join([*parts, asked])


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise _wrong("content is a text or a list of parts")
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str) or kind not in {"text", "refusal"}:
            raise NotSupportedError("an agent is told text only", field="messages")
        texts.append(str(part.get(kind, "")))
    return "\n".join(texts)


def _wrong(said: str) -> InvalidRequestError:
    return InvalidRequestError(f"messages: {said}", field="messages")
