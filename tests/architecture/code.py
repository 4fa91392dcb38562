"""The checkout as the architecture tests see it: its packages, modules and tracked files."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("activities", "adapters", "api", "bootstrap", "domain", "workflows")
"""What we ship, besides worker.py."""


def product_modules() -> list[Path]:
    """Return every Python file that we ship."""
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return sorted([*found, ROOT / "worker.py"])


def product_folders() -> Iterator[Path]:
    """Return every folder of ours that holds Python files, tests included."""
    for package in (*PACKAGES, "tests"):
        yield from {path.parent for path in (ROOT / package).rglob("*.py")}


def name_of(path: Path) -> str:
    """Return a path as it stands in the repository."""
    return path.relative_to(ROOT).as_posix()


def tracked_files() -> list[Path]:
    """Return what is in git; outside a checkout (an image, an archive) every file of ours."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    names = listed.stdout.split("\0")
    return [path for name in names if name and (path := ROOT / name).is_file()]
