"""The shape of the house: folders, names, sizes, what no file may hold."""

import importlib.metadata
import re
from hashlib import sha256
from pathlib import Path

from tests.architecture.code import (
    PACKAGES,
    ROOT,
    name_of,
    product_folders,
    product_modules,
    tracked_files,
)

LINES = 400
LONGER: dict[str, str] = {}
"""Modules past the gate, each with its reason; meant to stay empty."""

VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers", "base"}

TEXT_FILES = (".py", ".toml", ".lock", ".md", ".yml", ".yaml", ".json", ".sh", ".mod", "file")
PUBLIC_INDEX = re.compile(r'registry = "([^"]+)"|https?://([^/\s"]+)/[^\s"]*\.(?:whl|tar\.gz)')
PUBLIC_DIGEST = "45c7bcd0a539dbb5900d58eee63a6223b4f45c52686c5999cfbd12ae7ded7fee"
MACHINE_PATH = re.compile(r"(?<![\w./~$-])/(?:home|root|Users|work|mnt/[a-z])/[\w.-]+")

INJECTABLE = re.compile(
    r"\b(?:import (?:pickle|marshal|shelve|dill)\b|from (?:pickle|marshal|shelve|dill) import)"
    r"|(?<![\w.])(?:eval|exec)\(|\byaml\.(?:unsafe_)?load\(|\bos\.system\(|shell=True"
)


def test_every_folder_of_ours_is_a_package() -> None:
    """A folder without `__init__.py` is invisible to the import contracts."""
    missing = [name_of(f) for f in product_folders() if not (f / "__init__.py").exists()]

    assert missing == []


def test_a_package_file_holds_its_docstring_and_nothing_else() -> None:
    """No re-export hubs: modules are imported by their real path."""
    hubs = [
        name_of(path)
        for path in product_modules()
        if path.name == "__init__.py" and not re.fullmatch(r'"""[^"]+"""\n', path.read_text())
    ]

    assert hubs == []


def test_no_other_distribution_owns_one_of_our_names() -> None:
    """Where one does, Python silently runs its code instead of ours (ADR 0001)."""
    owners = importlib.metadata.packages_distributions()
    foreign = {
        name: owner
        for name in (*PACKAGES, "worker")
        if (owner := set(owners.get(name, [])) - {"durable-orchestrator"})
    }

    assert foreign == {}


def test_no_module_passes_the_gate() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in product_modules()}
    longer = {name for name, lines in lengths.items() if lines > LINES}

    assert longer == set(LONGER)


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [name_of(path) for path in product_modules() if path.stem in VAGUE]

    assert vague == []


def test_nothing_deserialises_into_code_or_builds_shell_lines() -> None:
    found = [
        f"{name_of(path)}: {match[0]}"
        for path in product_modules()
        for match in INJECTABLE.finditer(path.read_text())
    ]

    assert found == []


def test_the_lock_names_the_public_index_only() -> None:
    found = {
        match[1] or f"https://{match[2]}"
        for match in PUBLIC_INDEX.finditer((ROOT / "uv.lock").read_text())
    }

    # By digest: no file of ours names a registry.
    assert sha256("\n".join(sorted(found)).encode()).hexdigest() == PUBLIC_DIGEST


def test_no_file_holds_a_path_of_a_machine() -> None:
    found = [
        f"{name_of(path)}: {match[0]}"
        for path in tracked_files()
        if is_text(path)
        for match in MACHINE_PATH.finditer(path.read_text())
    ]

    assert found == []


def test_no_file_names_an_index_of_its_own() -> None:
    """Which index to use is the machine's business, never the repository's."""
    pattern = re.compile(r"index-url|extra-index|find-links|\[\[tool\.uv\.index\]\]|GOPROXY\s*=")
    found = [
        name_of(path)
        for path in tracked_files()
        if is_text(path) and path != Path(__file__) and pattern.search(path.read_text())
    ]

    assert found == []


def test_an_address_with_a_query_is_quoted_for_the_shell() -> None:
    """zsh takes a bare `?` for a pattern and runs nothing."""
    bare = re.compile(r"^\s*\$ (?:.*\s)?curl\s[^'\"\n]*\?.*$", re.MULTILINE)
    found = [
        f"{name_of(path)}: {match[0]}"
        for path in tracked_files()
        if path.suffix == ".md"
        for match in bare.finditer(path.read_text())
    ]

    assert found == []


def is_text(path: Path) -> bool:
    return path.name.endswith(TEXT_FILES) or path.parent.name == ".ci"
