"""The releases on the index: the user's own, and pages served here for what the real one does not show."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from harness import index
from harness.environment import index_url, settings
from harness.index import Listing, Release, Unreachable, listing

from .conftest import NO_INDEX

DEAD = NO_INDEX["UV_DEFAULT_INDEX"]
JSON = "application/vnd.pypi.simple.v1+json"
NAMES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE", "PIP_INDEX_URL", "PIP_CONFIG_FILE")
Serve = Callable[[str, str], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves one page with its type at every path, and gives the index's URL."""
    servers = []

    def start(page: str, kind: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(page.encode())

            def log_message(self, *_: Any) -> None:
                """Not on stderr."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/simple/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any configuration of pip or uv."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    return home


def file(name: str, **more: Any) -> dict[str, Any]:
    return {"filename": name, "url": f"/{name}", "hashes": {}, **more}


def page(*files: dict[str, Any]) -> str:
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "uvicorn", "files": files})


def versions(releases: tuple[Release, ...]) -> list[str]:
    return [release.version for release in releases]


def test_the_real_index_gives_uvicorns_releases_with_dates_and_what_was_withdrawn(tmp_path: Path) -> None:
    found = listing("uvicorn", tmp_path)
    assert found.note == ""
    by_version = {release.version: release for release in found.releases}
    assert versions(found.releases) == sorted(by_version, key=Version)
    assert by_version["0.19.0"].released == "2022-10-19"
    assert by_version["0.20.0"].released == "2022-11-20"
    assert by_version["0.17.0"].withdrawn
    assert not by_version["0.3.0"].wheel
    assert by_version["0.7.0b1"].prerelease
    usual = versions(found.usable("3.11.7"))
    assert usual.index("0.17.0.post1") == usual.index("0.16.0") + 1
    assert "0.7.0b1" not in usual
    assert "0.17.0" in versions(found.usable("3.11.7", withdrawn=True))
    assert "0.7.0b1" in versions(found.usable("3.11.7", pre=True))
    assert found.newest("3.11.7") == usual[-1]
    assert found.newest("3.8.18") == "0.33.0"
    # A second question within the index's own limit is answered from the disk.
    assert listing("uvicorn", tmp_path) == found
    assert [path.name for path in tmp_path.iterdir()] == ["releases-uvicorn.json"]


def test_a_json_page_is_read_as_versions_not_as_text(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [
        file("uvicorn-0.10.0-py3-none-any.whl", **{"upload-time": "2022-03-02T23:59:59Z"}),
        file("uvicorn-0.10.0.tar.gz", **{"upload-time": "2022-03-03T00:00:01Z"}),
        file("uvicorn-0.9.0.tar.gz", **{"upload-time": "2022-02-01T00:00:00Z", "requires-python": ">=3.6.*"}),
        file("uvicorn-0.11.0rc1-py3-none-any.whl"),
        file("uvicorn-0.11.0-py3-none-any.whl", **{"requires-python": ">=3.13", "yanked": False}),
        # Withdrawn only where every file of it is.
        file("uvicorn-0.8.0-py3-none-any.whl", yanked="broken"),
        file("uvicorn-0.8.0.tar.gz"),
        file("uvicorn-0.7.0-py3-none-any.whl", yanked=True),
        file("uvicorn-nonsense.tar.gz"),
    ]
    monkeypatch.setenv("UV_DEFAULT_INDEX", serve(page(*files), JSON))
    found = listing("uvicorn", tmp_path)
    assert versions(found.releases) == ["0.7.0", "0.8.0", "0.9.0", "0.10.0", "0.11.0rc1", "0.11.0"]
    assert [release.released for release in found.releases] == ["", "", "2022-02-01", "2022-03-02", "", ""]
    assert [release.wheel for release in found.releases] == [True, True, False, True, True, True]
    assert versions(found.usable("3.12.1")) == ["0.8.0", "0.9.0", "0.10.0"]
    assert versions(found.usable("3.13.0")) == ["0.8.0", "0.9.0", "0.10.0", "0.11.0"]
    assert versions(found.usable("3.13.0rc1")) == ["0.8.0", "0.9.0", "0.10.0"]
    assert found.newest("3.12.1") == "0.10.0"


def test_a_plain_html_page_will_do(tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    links = (
        '<a href="/uvicorn-0.10.0-py3-none-any.whl" data-requires-python="&gt;=3.8">uvicorn-0.10.0-py3-none-any.whl</a>'
        '<a href="/uvicorn-0.9.0-py3-none-any.whl" data-yanked="">uvicorn-0.9.0-py3-none-any.whl</a>'
    )
    monkeypatch.setenv("UV_DEFAULT_INDEX", serve(f"<!DOCTYPE html><html><body>{links}</body></html>", "text/html"))
    found = listing("uvicorn", tmp_path).releases
    assert found == (Release("0.9.0", "", True, True, ""), Release("0.10.0", "", False, True, ">=3.8"))


def test_without_an_index_and_with_nothing_on_disk_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", DEAD)
    with pytest.raises(Unreachable, match="cannot be reached: check the network and the index of uv or pip"):
        listing("uvicorn", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_index_that_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "LIMIT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        with pytest.raises(Unreachable, match=r"cannot be reached: .* \(TimeoutError\)"):
            listing("uvicorn", tmp_path)


@pytest.mark.parametrize("broken", ["{", "[]", "{}", '{"url": null, "time": 0, "releases": [{"no": "release"}]}'])
def test_what_is_on_disk_and_cannot_be_read_is_as_nothing(
    broken: str, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "releases-uvicorn.json").write_text(broken)
    monkeypatch.setenv("UV_DEFAULT_INDEX", DEAD)
    with pytest.raises(Unreachable):
        listing("uvicorn", tmp_path)
    monkeypatch.setenv("UV_DEFAULT_INDEX", serve(page(file("uvicorn-0.9.0.tar.gz")), JSON))
    assert versions(listing("uvicorn", tmp_path).releases) == ["0.9.0"]


def test_without_an_index_its_last_answer_counts_and_a_note_says_so(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", serve(page(file("uvicorn-0.9.0.tar.gz")), JSON))
    before = listing("uvicorn", tmp_path)
    monkeypatch.setenv("UV_DEFAULT_INDEX", DEAD)
    after = listing("uvicorn", tmp_path)
    assert after.releases == before.releases
    assert after.note.startswith("the package index cannot be reached: these are its releases as of 20")


def test_an_answer_is_asked_for_anew_after_a_while_and_from_another_index(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "releases-uvicorn.json"
    monkeypatch.setenv("UV_DEFAULT_INDEX", serve(page(file("uvicorn-0.9.0.tar.gz")), JSON))
    listing("uvicorn", tmp_path)
    url = serve(page(file("uvicorn-0.10.0.tar.gz")), JSON)
    monkeypatch.setenv("UV_DEFAULT_INDEX", url)
    assert versions(listing("uvicorn", tmp_path).releases) == ["0.10.0"]
    # A clock that was set back must not keep an answer for ever.
    for time in (0, 9e9):
        kept.write_text(json.dumps({"url": url, "time": time, "releases": []}))
        assert versions(listing("uvicorn", tmp_path).releases) == ["0.10.0"]


def test_no_release_for_an_interpreter_is_a_message() -> None:
    with pytest.raises(Unreachable, match=r"no release for Python 3\.6\.15"):
        Listing((Release("0.9.0", "", False, True, ">=3.8"),)).newest("3.6.15")


def test_the_index_is_uvs_or_else_pips(no_configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting here comes before the ones above it."""
    if index_url():
        pytest.skip("the machine's own configuration in /etc names an index")
    assert "UV_DEFAULT_INDEX" not in settings()
    pip, uv = no_configuration / ".config" / "pip", no_configuration / ".config" / "uv"
    pip.mkdir(parents=True)
    uv.mkdir()
    (no_configuration / ".pip").mkdir()
    (no_configuration / ".pip" / "pip.conf").write_text("[global]\nindex-url = https://old-pip.example/simple\n")
    assert index_url() == "https://old-pip.example/simple"
    (pip / "pip.conf").write_text("[global]\nindex-url = https://pip.example/simple\n")
    assert index_url() == "https://pip.example/simple"
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")  # pip reads no file at all then
    assert index_url() is None
    (no_configuration / "pip.conf").write_text("[install]\nindex-url = https://p%40ss@pip.example/install\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(no_configuration / "pip.conf"))
    assert index_url() == "https://p%40ss@pip.example/install"
    monkeypatch.setenv("PIP_INDEX_URL", "https://pip.example/variable")
    assert index_url() == "https://pip.example/variable"
    assert settings()["UV_DEFAULT_INDEX"] == "https://pip.example/variable"
    (uv / "uv.toml").write_text('[[index]]\nname = "more"\nurl = "https://more.example"\n')
    assert index_url() == "https://pip.example/variable"
    (uv / "uv.toml").write_text('[[index]]\nurl = "https://uv.example/simple"\ndefault = true\n')
    assert index_url() == "https://uv.example/simple"
    monkeypatch.setenv("UV_INDEX_URL", "https://uv.example/older")
    assert index_url() == "https://uv.example/older"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://uv.example/newer")
    assert index_url() == "https://uv.example/newer"
