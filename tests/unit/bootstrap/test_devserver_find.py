"""The search for a server binary: its order, and one sentence when it fails."""

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.devserver import find
from bootstrap.devserver.binary import Binary, Sidecar
from bootstrap.devserver.find import Search
from bootstrap.go_build import cache_folder
from domain.errors import SetupError
from tests.unit.bootstrap.scripts import fake_go, fake_temporal, write_script


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with the folder `bin` on PATH, an empty cache and nothing else of ours."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("ORCHESTRATOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("TEMPORAL_CLI_PATH", raising=False)
    monkeypatch.delenv("TEMPORAL_ADDRESS", raising=False)
    return folder


@pytest.fixture
def closed_page() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


@pytest.fixture
def open_page() -> Iterator[str]:
    """A download service that answers, with an error like the real one's start page."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def cached(tmp_path: Path, cli: str = "1.8.2", server: str = "1.31.2") -> Path:
    return fake_temporal(tmp_path / "cache" / "temporal" / cli / "temporal", server, cli)


def sidecar_of(path: Path, server: str) -> Sidecar:
    return Sidecar(server, "1.0.0", str(path), size_bytes=0, mtime_ns=0)


def test_the_named_binary_comes_before_every_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(tmp_path)
    named = fake_temporal(tmp_path / "mine", server="1.30.0")
    monkeypatch.setenv("TEMPORAL_CLI_PATH", str(named))

    assert Search().find() == Binary(named, "1.8.2", "1.30.0")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("exit 1", "does not run as `temporal`"),
        ('echo "temporal version 1.0 (Server 1.20.0, UI 1)"', "holds server 1.20.0"),
    ],
)
def test_a_named_binary_that_is_unusable_is_an_error_and_not_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, why: str
) -> None:
    cached(tmp_path)
    monkeypatch.setenv("TEMPORAL_CLI_PATH", str(write_script(tmp_path / "mine", body)))

    with pytest.raises(SetupError, match=why):
        Search().find()


def test_the_writer_of_the_data_file_comes_before_the_cache_and_the_path(
    tmp_path: Path, bare_machine: Path
) -> None:
    cached(tmp_path)
    fake_temporal(bare_machine / "temporal")
    writer = fake_temporal(tmp_path / "writer")

    found = Search(sidecar=sidecar_of(writer, "1.31.2")).find()

    assert found.path == writer


def test_the_cache_comes_before_the_path_and_the_pinned_build_first(
    tmp_path: Path, bare_machine: Path
) -> None:
    cached(tmp_path, cli="9.9.9")
    pinned = cached(tmp_path)
    fake_temporal(bare_machine / "temporal")

    assert Search().find().path == pinned


def test_another_cached_server_is_used_when_the_pinned_one_is_absent(tmp_path: Path) -> None:
    (cached(tmp_path, cli="9.9.9").parent / "temporal.part").write_text("an unfinished build")

    assert Search().find().cli_version == "9.9.9"


def test_an_old_binary_on_the_path_is_passed_over(bare_machine: Path, closed_page: str) -> None:
    fake_temporal(bare_machine / "temporal", server="1.20.0")

    with pytest.raises(SetupError, match=r"holds server 1\.20\.0; 1\.29\.1 or newer"):
        Search(download_page=closed_page).find()


def test_the_path_is_searched(bare_machine: Path) -> None:
    on_path = fake_temporal(bare_machine / "temporal")

    assert Search().find().path == on_path


def test_with_no_way_left_one_error_names_them_all(closed_page: str) -> None:
    with pytest.raises(SetupError) as failure:
        Search(download_page=closed_page).find()

    message = str(failure.value)
    for way in ("TEMPORAL_CLI_PATH", "the cache folder", "PATH", "download", "Go", "TEMPORAL_ADDR"):
        assert way in message
    assert "\n" not in message


def test_the_build_is_the_last_way(tmp_path: Path, bare_machine: Path, closed_page: str) -> None:
    stand_in = fake_temporal(tmp_path / "stand-in")
    fake_go(bare_machine / "go", build=f'cp {stand_in} "$target/temporal"')

    found = Search(download_page=closed_page, report=lambda _: None).find()

    assert found.path == cache_folder() / "temporal" / "1.8.2" / "temporal"
    assert found.server_version == "1.31.2"


def test_the_download_is_tried_when_its_service_answers(open_page: str) -> None:
    async def download(folder: Path) -> None:
        fake_temporal(folder / "temporal-sdk-python-1.35.0", server="1.32.0")

    found = Search(download_page=open_page, download=download, report=lambda _: None).find()

    assert found.server_version == "1.32.0"
    assert Search(report=lambda _: None).find() == found, "the next search finds it in the cache"


def test_a_download_that_fails_is_a_reason_among_others(open_page: str) -> None:
    async def download(folder: Path) -> None:
        raise RuntimeError("proxy said no")

    with pytest.raises(SetupError, match="the SDK's download: proxy said no"):
        Search(download_page=open_page, download=download, report=lambda _: None).find()


def test_a_downloaded_file_that_does_not_run_is_passed_over(open_page: str) -> None:
    async def download(folder: Path) -> None:
        write_script(folder / "temporal-broken", "exit 1")

    with pytest.raises(SetupError, match="temporal-broken does not run"):
        Search(download_page=open_page, download=download, report=lambda _: None).find()


def test_a_service_that_never_answers_costs_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "_REACH_SECONDS", 0.05)  # 3 s of waiting otherwise
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        page = f"http://127.0.0.1:{silent.getsockname()[1]}/"

        with pytest.raises(SetupError, match="cannot be reached"):
            Search(download_page=page).find()


@pytest.mark.parametrize("way", ["named", "cached"])
def test_another_version_than_the_files_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    other = cached(tmp_path)
    if way == "named":
        monkeypatch.setenv("TEMPORAL_CLI_PATH", str(other))

    with pytest.raises(SetupError, match="--restart-unfinished") as failure:
        Search(tmp_path / "t.db", sidecar_of(tmp_path / "gone", "1.30.0")).find()

    assert "1.30.0" in str(failure.value)
    assert "1.31.2" in str(failure.value)


def test_the_pinned_version_is_built_rather_than_refused(
    tmp_path: Path, bare_machine: Path, closed_page: str
) -> None:
    fake_temporal(bare_machine / "temporal", server="1.30.0")
    fake_go(
        bare_machine / "go", build=f'cp {fake_temporal(tmp_path / "stand-in")} "$target/temporal"'
    )
    sidecar = sidecar_of(tmp_path / "gone", "1.31.2")

    found = Search(sidecar=sidecar, download_page=closed_page, report=lambda _: None).find()

    assert found.server_version == "1.31.2"


def test_a_mismatch_is_told_when_the_right_version_cannot_be_built(
    tmp_path: Path, bare_machine: Path, closed_page: str
) -> None:
    fake_temporal(bare_machine / "temporal", server="1.30.0")

    with pytest.raises(SetupError, match="was written by"):
        Search(
            tmp_path / "t.db", sidecar_of(tmp_path / "x", "1.31.2"), download_page=closed_page
        ).find()


def test_setup_says_which_server_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cached(tmp_path)

    assert find.main() == 0
    assert capsys.readouterr().err == f"==> Temporal server 1.31.2: {path}\n"


def test_setup_fails_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEMPORAL_CLI_PATH", "/nowhere/temporal")

    assert find.main() == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_setup_needs_no_server_where_one_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")

    assert find.main() == 0
    assert "no dev server is needed" in capsys.readouterr().err
