"""What is secret never shows."""

import pytest

from bootstrap.logs.redaction import MASK, Redactor, secrets_of
from bootstrap.settings import Settings

KEY = "orch_" + "A" * 43
TOKEN = "dt_" + "A" * 43


def test_a_secret_is_masked_wherever_it_stands() -> None:
    redact = Redactor(["sk-secret"])

    assert redact("key=sk-secret, again sk-secret!") == f"key={MASK}, again {MASK}!"


def test_a_secret_that_begins_like_another_leaves_nothing_behind() -> None:
    redact = Redactor(["secret", "secret-and-more"])

    assert redact("secret-and-more secret") == f"{MASK} {MASK}"


def test_a_value_too_short_to_be_a_secret_stays() -> None:
    assert Redactor(["on"])("on and on") == "on and on"


def test_our_own_keys_and_tokens_are_masked_by_their_form() -> None:
    assert Redactor()(f"token {TOKEN}, no tokens: dt_short") == f"token {MASK}, no tokens: dt_short"
    assert Redactor()(f"Bearer {KEY}") == f"Bearer {MASK}"


def test_nested_values_are_masked() -> None:
    value = {"a": ["sk-secret", 1, None], "b": ("x",)}

    assert Redactor(["sk-secret"]).deep(value) == {"a": [MASK, 1, None], "b": ["x"]}


def test_the_secrets_of_a_process_are_those_of_its_settings_and_of_its_libraries() -> None:
    settings = Settings(
        openai_api_key="sk-openai",
        database_url="postgres://u:p%40ss@host/db",
        ollama_host="http://user:ollama-pass@host",
    )

    found = secrets_of(
        settings, {"TEMPORAL_API_KEY": "temporal-key", "https_proxy": "http://u:proxy-pass@p"}
    )

    wanted = {"sk-openai", "p%40ss", "p@ss", "ollama-pass", "temporal-key", "proxy-pass"}
    assert wanted <= set(found)


@pytest.mark.parametrize("url", ["http://[", "http://u:p@[bad/"])
def test_a_url_that_cannot_be_read_is_secret_as_a_whole(url: str) -> None:
    assert url in secrets_of(object_with(url), {})


def object_with(url: str) -> object:
    holder = type("Holder", (), {})()
    holder.url = url
    return holder
