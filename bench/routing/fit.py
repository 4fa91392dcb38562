"""Fits the complexity model on recorded outcomes: `python -m bench.routing.fit` writes it.

Two questions (is the weak, is the strong model right?), each answered by boosted trees over the
features of `domain/routing/reading.py`. Plain Python, half a minute.
Source: the outcomes that RouteLLM published (2406.18665), see `bench/routing/data.py`.
"""

import json
import sys
import zlib
from base64 import b85encode
from collections.abc import Sequence
from typing import Any

from bench.procs import ROOT
from bench.routing import boosting
from bench.routing.data import Outcome, load
from domain.routing.complexity import NOTHING, complexity_of, fitted_complexity
from domain.routing.fitted import Heads, unpack
from domain.routing.reading import features, take_apart
from domain.routing.trees import Node

TARGET = ROOT / "domain" / "routing" / "coefficients.py"
_HEAD = '''"""The fitted complexity model, packed. Written by `bench/routing/fit.py`; not edited.

Fitted on outcomes that RouteLLM recorded (2406.18665, Apache-2.0): {rows} prompts of {tasks}
tasks, with whether Mixtral-8x7B (weak) and GPT-4-1106 (strong) answered rightly.
"""

FITTED_ON = frozenset(
    {{
{names}
    }}
)
"""The tasks it was fitted on: figures on these say nothing about others."""

PACKED = """
{packed}
"""
'''


class Material:
    """Outcomes with their features, taken apart once for many fits."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes = outcomes
        seen = [take_apart(outcome.prompt) for outcome in outcomes]
        self.names = list(features(seen[0]))
        self.columns = boosting.Columns.of([list(features(each).values()) for each in seen])

    def fit(self, rows: Sequence[int], settings: boosting.Settings) -> dict[str, Any]:
        """Return the packed model for these rows."""
        packed = {
            "features": self.names,
            "gaps": [0.0],
            "weak": self._head(rows, [float(each.weak) for each in self.outcomes], settings),
            "strong": self._head(rows, [float(each.strong) for each in self.outcomes], settings),
        }
        model = unpack(packed)
        gaps = sorted(_fitted_gap(self.outcomes[row].prompt, model) for row in rows)
        return {**packed, "gaps": [round(gaps[len(gaps) * n // 100], 4) for n in range(100)]}

    def _head(
        self, rows: Sequence[int], target: Sequence[float], settings: boosting.Settings
    ) -> dict[str, Any]:
        base, trees = boosting.grow(self.columns, rows, target, settings)
        return {"base": round(base, 4), "trees": [_pack(tree) for tree in trees]}


def gap_of(prompt: str, model: Heads) -> float:
    """Return by how much the strong model is expected to be better."""
    estimate = complexity_of(prompt, model=model)
    return estimate.strong - estimate.weak


def _fitted_gap(prompt: str, model: Heads) -> float:
    """Return the same by what is fitted alone."""
    estimate = fitted_complexity(take_apart(prompt), NOTHING, model)
    return estimate.strong - estimate.weak


def _pack(node: Node) -> list[Any]:
    if node.below is None or node.above is None:
        return [round(node.value, 4)]
    below, above = _pack(node.below), _pack(node.above)
    return [round(node.value, 4), node.feature, float(f"{node.cut:.5g}"), below, above]


def main() -> int:
    """Fit on everything recorded and write the module."""
    recorded = load()
    if recorded.is_sample:
        print("ROUTING_DATA names no folder: nothing to fit on", file=sys.stderr)
        return 1
    outcomes = recorded.outcomes
    packed = Material(outcomes).fit(range(len(outcomes)), boosting.Settings())
    text = b85encode(zlib.compress(json.dumps(packed, separators=(",", ":")).encode(), 9)).decode()
    tasks = sorted({outcome.task for outcome in outcomes})
    module = _HEAD.format(
        rows=len(outcomes),
        tasks=len(tasks),
        names="\n".join(f'        "{task}",' for task in tasks),
        packed="\n".join(text[at : at + 99] for at in range(0, len(text), 99)),
    )
    TARGET.write_text(module)
    print(f"{TARGET.relative_to(ROOT)}: {len(module):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
