"""The build of the pinned server: its obstacles, its progress, one at a time."""

import threading
import time
from pathlib import Path

import pytest

from bootstrap import go_build
from bootstrap.go_build import BuildFailure, build, built_path, cache_folder
from tests.unit.bootstrap.scripts import fake_go


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def reason(made: Path | BuildFailure) -> str:
    assert isinstance(made, BuildFailure)
    return made.reason


def test_without_go_the_reason_names_the_version_that_is_needed(
    bin_folder: Path, tmp_path: Path
) -> None:
    assert "needs Go 1.26.4 or newer" in reason(build(tmp_path, print))


@pytest.mark.parametrize("version", ["1.26.3", "1.25", "1.9"])
def test_an_old_go_is_refused(bin_folder: Path, tmp_path: Path, version: str) -> None:
    fake_go(bin_folder / "go", version=version)

    assert f"`go` on PATH is {version}" in reason(build(tmp_path, print))


def test_a_go_that_does_not_answer_is_refused(bin_folder: Path, tmp_path: Path) -> None:
    fake_go(bin_folder / "go", version="unknown")

    assert "`go version` failed" in reason(build(tmp_path, print))


def test_a_build_that_fails_leaves_nothing_and_says_why(bin_folder: Path, tmp_path: Path) -> None:
    fake_go(bin_folder / "go", build='echo "dial tcp: no route" >&2; exit 1')

    assert "dial tcp: no route" in reason(build(tmp_path, lambda _: None))
    assert not built_path(tmp_path).exists()


def test_a_build_reports_how_far_it_is(
    bin_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(go_build, "_REPORT_SECONDS", 0)  # 5 s of waiting otherwise
    fake_go(
        bin_folder / "go",
        build='echo "go: downloading x v1"; echo x/y; echo x/z; echo ok > "$target/temporal"',
    )
    lines: list[str] = []

    assert build(tmp_path, lines.append) == built_path(tmp_path)
    assert lines[0].startswith("building the Temporal dev server 1.31.2")
    assert "  0:00  1 modules downloaded, 2 packages compiled" in lines


def test_a_build_that_is_there_is_not_repeated(bin_folder: Path, tmp_path: Path) -> None:
    fake_go(bin_folder / "go", build="exit 1")
    built_path(tmp_path).parent.mkdir(parents=True)
    built_path(tmp_path).touch()

    assert build(tmp_path, print) == built_path(tmp_path)


def test_two_builds_at_once_are_one(bin_folder: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    fake_go(bin_folder / "go", build=f'echo run >> {runs}; sleep 0.2; echo ok > "$target/temporal"')
    lines: list[str] = []
    first = threading.Thread(target=build, args=(tmp_path, lambda _: None))
    first.start()
    while not runs.exists():
        time.sleep(0.005)

    assert build(tmp_path, lines.append) == built_path(tmp_path)
    first.join()
    assert runs.read_text() == "run\n"
    assert lines == ["another process is building the same: waiting for it"]


def test_outside_a_checkout_the_reason_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(go_build, "__file__", str(tmp_path / "bootstrap" / "x.py"))

    assert "only in a checkout" in reason(build(tmp_path, print))


def test_the_cache_folder_is_the_users_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORCHESTRATOR_CACHE_DIR", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "durable-orchestrator"

    monkeypatch.setenv("ORCHESTRATOR_CACHE_DIR", "/elsewhere")
    assert cache_folder() == Path("/elsewhere")


def test_the_pin_is_the_one_of_the_module() -> None:
    module = Path(go_build.__file__).parent.parent / "tools" / "temporal" / "go.mod"

    assert f"github.com/temporalio/cli v{go_build.PINNED} " in module.read_text()
