"""`docs/howto/schedules.md`, literally, in its order and on a fresh store."""

import json
import re
import shlex
from pathlib import Path

import httpx2

from tests.unit.bootstrap.conftest import Command

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "schedules.md"


def calls() -> list[list[str]]:
    """Return what is typed on the page, as words."""
    blocks = "\n".join(re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL))
    typed = re.findall(r"^\$ ((?:.*\\\n)*(?:.*-d '[^']*'|.*))", blocks, re.MULTILINE)
    return [shlex.split(line.replace("\\\n", " "), comments=True) for line in typed]


def test_what_the_page_types_works_as_it_stands(ask: Command, api_url: str) -> None:
    tried = 0

    for name, *rest in calls():
        if name == "curl":
            body = json.loads(rest[rest.index("-d") + 1])
            url = rest[0].replace("localhost:8080", api_url)
            answer = httpx2.post(url, json=body)
            assert answer.status_code == 201, answer.text
        else:
            assert name == "orchestrator"
            said = ask(*rest)
            assert said.code == 0, (rest, said.err)
        tried += 1

    assert tried == 9
