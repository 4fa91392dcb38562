"""Small shell scripts that stand in for programs which are slow or absent."""

from pathlib import Path


def write_script(path: Path, body: str) -> Path:
    """Make an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def fake_temporal(path: Path, server: str = "1.31.2", cli: str = "1.8.2") -> Path:
    """Make a `temporal` that knows its version and nothing else."""
    return write_script(path, f'echo "temporal version {cli} (Server {server}, UI 2.50.1)"')


def fake_go(path: Path, version: str = "1.26.8", build: str = "") -> Path:
    """Make a `go` that knows its version; its build runs `build`, with the target in `$target`."""
    return write_script(
        path,
        f"""
if [ "$1" = version ]; then echo "go version go{version} linux/amd64"; exit 0; fi
while [ "$1" != -o ]; do shift; done
target=$2
{build}""",
    )
