"""Which texts are secret, and how they are taken out of what is shown. Knows no log."""

import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote, urlsplit

MASK = "***"
_SHORTEST = 4
"""Shorter values are not secrets but would punch holes into every other word."""
_OUR_SECRET = re.compile(r"\b(?:orch|dt)_[A-Za-z0-9_-]{43}")
"""An API key, or the token of a tool call that was handed out."""
_ENVIRONMENT = ("TEMPORAL_API_KEY", "TEMPORAL_TLS_CLIENT_KEY_DATA")
"""Secrets that other libraries read from the environment by themselves."""
_URLS = ("DATABASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "MQTT_URL")
"""Variables whose value may hold a password; also looked for in lower case."""


class Redactor:
    """Replaces secrets by a mask, and anything that has the form of a key or token of ours."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: one secret may begin with another.
        known = sorted({text for text in secrets if len(text) >= _SHORTEST}, key=len, reverse=True)
        self._secrets = re.compile("|".join(re.escape(text) for text in known)) if known else None

    def __call__(self, text: str) -> str:
        """Return `text` without secrets."""
        if self._secrets is not None:
            text = self._secrets.sub(MASK, text)
        return _OUR_SECRET.sub(MASK, text) if "orch_" in text or "dt_" in text else text

    def deep(self, value: object) -> object:
        """Return a value made of JSON's types without secrets in its texts."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {key: self.deep(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.deep(item) for item in value]
        return value


def secrets_of(settings: object, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return every secret that a process was given: its settings', and what libraries read.

    `settings` is any object whose attributes may have pydantic's `get_secret_value`.
    """
    found = []
    for value in vars(settings).values():
        reveal = getattr(value, "get_secret_value", None)
        if reveal is not None:
            found.append(reveal())
        elif isinstance(value, str) and "://" in value:
            found.extend(_passwords(value))
    found.extend(environ[name] for name in _ENVIRONMENT if name in environ)
    for name in _URLS:
        found.extend(_passwords(environ.get(name) or environ.get(name.lower()) or ""))
    return found


def _passwords(url: str) -> list[str]:
    """Return the password of a URL as it is written and as it is meant."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return [url]
    return [password, unquote(password)] if password else []
