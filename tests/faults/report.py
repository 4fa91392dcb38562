"""Results of the heavy tests, one JSON file each, for whoever wants to compare."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")


def record(name: str, seed: int, **figures: Any) -> None:
    """Print what a test measured, and keep it."""
    found = {"test": name, "seed": seed, **figures}
    print(json.dumps(found))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}-{seed}.json").write_text(json.dumps(found, indent=1) + "\n")
