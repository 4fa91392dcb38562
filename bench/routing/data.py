"""Recorded outcomes and requests: from the folder that `ROUTING_DATA` names, else a small sample.

`model_outcomes.json.gz` holds [{task, prompt, weak, strong}] of RouteLLM (Apache-2.0);
`clinc150.json.gz` holds the requests of CLINC150 (CC BY 3.0) by intent, and intents by domain.
"""

import gzip
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.routing import sample

VARIABLE = "ROUTING_DATA"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One prompt, and whether each of two models answered it rightly."""

    task: str
    prompt: str
    weak: bool
    strong: bool

    @property
    def gain(self) -> int:
        """What the strong model brings: 1, 0 or -1."""
        return self.strong - self.weak


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests and the domain each belongs to; those to learn from, and those to judge by."""

    learn: tuple[tuple[str, str], ...]
    judge: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """All that is measured on."""

    outcomes: tuple[Outcome, ...]
    requests: Requests
    is_sample: bool


def load() -> Recorded:
    """Return what is recorded; the generated sample where no folder is named."""
    named = os.environ.get(VARIABLE)
    if not named:
        return Recorded(
            tuple(Outcome(*row) for row in sample.outcomes()),
            Requests(*sample.requests()),
            is_sample=True,
        )
    folder = Path(named)
    return Recorded(
        tuple(Outcome(**row) for row in _read(folder / "model_outcomes.json.gz")),
        _requests(_read(folder / "clinc150.json.gz")),
        is_sample=False,
    )


def _requests(packed: dict[str, Any]) -> Requests:
    domain_of = {
        intent: domain for domain, intents in packed["domains"].items() for intent in intents
    }
    judged = packed.get("test") or packed["val"]
    return Requests(_pairs(packed["train"], domain_of), _pairs(judged, domain_of))


def _pairs(
    rows: Sequence[tuple[str, str]], domain_of: dict[str, str]
) -> tuple[tuple[str, str], ...]:
    return tuple((text, domain_of.get(intent, intent)) for text, intent in rows)


def _read(path: Path) -> Any:  # noqa: ANN401 - any JSON
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)
