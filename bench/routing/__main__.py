"""`python -m bench.routing`: model routing and agent choice against their bars.

`ROUTING_DATA` names the folder of recorded data; without it a small generated sample shows that
the bench runs, and nothing is judged. Exit 1 when a must fails.
"""

import argparse
import sys
from collections.abc import Sequence

from bench.bars import Figure, Verdict
from bench.report import table, verdict_of
from bench.routing import agents, cascade, models
from bench.routing.bars import BARS, UNJUDGED
from bench.routing.data import VARIABLE, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="bench.routing", description=__doc__)
    parser.add_argument("--splits", type=int, default=3, help="fits that hold subjects out")
    given = parser.parse_args(arguments)
    recorded = load()
    if recorded.is_sample:
        print(
            f"{VARIABLE} names no folder of recorded data: a small generated sample is used, and"
            " its figures mean nothing."
        )
    figures: list[Figure] = [
        *agents.measure(recorded),
        *models.measure(recorded, given.splits),
        *cascade.measure(recorded),
    ]
    bars = UNJUDGED if recorded.is_sample else BARS
    print(f"\n{table(figures, bars)}\n")
    failed = [figure.bar for figure in figures if verdict_of(figure, bars) is Verdict.FAIL]
    kept = "nothing is judged" if recorded.is_sample else "every must is kept"
    print(f"must failed: {', '.join(failed)}" if failed else kept)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
