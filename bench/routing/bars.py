"""The bars of routing: what choices of agents and models must reach on recorded data."""

from dataclasses import replace

from bench.bars import Bar, Better

_BARS = (
    Bar("choice_0", "right agent of ten, cards only", "", 0.65, 0.70, Better.HIGH),
    Bar("choice_1000", "right agent after 1,000 labels", "", 0.85, 0.88, Better.HIGH),
    Bar("choice_3000", "right agent after 3,000 labels", "", 0.92, 0.94, Better.HIGH),
    Bar("choice_time", "CPU of a choice by content", "ms", 0.1),
    Bar("choice_time_all", "CPU of a choice by all six criteria", "ms"),
    Bar(
        "apgr",
        "gap recovered by the router, mean over shares of strong calls",
        "",
        None,
        0.64,
        Better.HIGH,
    ),
    Bar(
        "apgr_lead", "the same, above the better of keywords and length", "", 0.0, None, Better.HIGH
    ),
    Bar("estimate_time", "CPU of an estimate of complexity", "ms", 1.0),
    Bar(
        "cascade_gap",
        "gap recovered by a cascade that looks at answers",
        "",
        None,
        0.90,
        Better.HIGH,
    ),
    Bar("cascade_calls", "strong calls that this takes", "", None, 0.33),
    Bar(
        "cascade_lead",
        "the same, above the best fixed choice per class",
        "",
        0.0,
        None,
        Better.HIGH,
    ),
)

BARS: dict[str, Bar] = {bar.name: bar for bar in _BARS}

UNJUDGED: dict[str, Bar] = {name: replace(bar, must=None, aim=None) for name, bar in BARS.items()}
"""The same without promises: what a sample comes to means nothing."""
