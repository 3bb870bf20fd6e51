"""The releases on the index: the user's own, and pages served here for what the real one does not show."""

import hashlib
import io
import json
import os
import ssl
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness import sources
from harness.index import Index, Release
from harness.place import Unavailable

from .conftest import harness

CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
JSON = "application/vnd.pypi.simple.v1+json"
Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves answers by path, `/simple/uvicorn/` among them, and gives the index's URL with its counts of requests."""
    servers = []

    def start(answers: dict[str, bytes], kind: str = JSON, status: int = 200, age: str = "max-age=600") -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Cache-Control", age)
                self.end_headers()
                self.wfile.write(answers[self.path])

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
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_")) or name in CERTIFICATES]:
        monkeypatch.delenv(name)
    for folder in (".pip", ".config/pip", ".config/uv"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    return tmp_path


def wheel(version: str, line: str = "") -> bytes:
    """A wheel of a uvicorn that is nothing but its version."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("uvicorn/__init__.py", f"__version__ = {version!r}\n{line}")
        opened.writestr(f"uvicorn-{version}.dist-info/METADATA", f"Name: uvicorn\nVersion: {version}\n")
    return file.getvalue()


def only(index: Index) -> Release:
    """The one release that an index has."""
    [release] = index.releases("uvicorn")
    return release


def page(*versions: str, content: bytes = b"", **more: Any) -> dict[str, bytes]:
    """What an index answers that has a wheel of each version."""
    names = [f"uvicorn-{version}-py3-none-any.whl" for version in versions]
    hashes = {"sha256": hashlib.sha256(content).hexdigest()}
    files = [{"filename": name, "url": f"/{name}", "hashes": hashes, **more} for name in names]
    text = json.dumps({"meta": {"api-version": "1.1"}, "name": "uvicorn", "files": files})
    return {"/simple/uvicorn/": text.encode(), **{f"/{name}": content for name in names}}


def test_a_plain_html_page_will_do_and_dates_are_not_invented(folder: Path, serve: Serve) -> None:
    name = "uvicorn-0.9.1-py3-none-any.whl"
    html = f'<a href="/{name}" data-requires-python="&gt;=3.8">{name}</a>'.encode()
    release = only(Index(serve({"/simple/uvicorn/": html}, "text/html"), True))
    assert (release.released, release.dated, bool(release.wheel)) == ("", "0.9.1", True)
    assert [release.admits(python) for python in ("3.7.9", "3.8.0")] == [False, True]


@pytest.mark.parametrize(
    ("age", "later", "expected"),
    [
        ("max-age=600", page("1.10", "1.9", "nonsense"), "1.9"),
        ("max-age=0", page("1.10", "1.9", "nonsense"), "1.9 1.10"),
        ("max-age=0", {}, "1.9"),
    ],
    ids=["it holds", "it is old", "the index is gone"],
)
def test_the_last_answer_is_kept_for_as_long_as_the_index_allows_or_is_gone(
    age: str, later: dict[str, bytes], expected: str, folder: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = page("1.9")
    url = serve(answers, age=age)
    only(Index(url, True))
    answers.clear()
    answers.update(later)
    assert " ".join(one.version for one in Index(url, True).releases("uvicorn")) == expected
    assert ("check the network and the index of uv or pip" in capsys.readouterr().err) == (not later)


@pytest.mark.parametrize("junk", ["", "{}", '{"until": 9e12, "releases": [{}]}', "[" * 100_000, "\0"])
def test_what_is_on_disk_and_cannot_be_read_is_as_nothing(junk: str, folder: Path, serve: Serve) -> None:
    index = Index(serve(page("1.0")), True)
    only(index)
    [kept] = folder.glob("uvicorn-*.json")
    kept.write_text(junk)
    assert only(index).version == "1.0"


def test_a_wheel_is_the_one_that_its_index_promises(folder: Path, serve: Serve) -> None:
    """Neither another index's release of the same version, nor something else."""
    for line in ("", "backport = True\n"):
        index = Index(serve(page("1.0", content=wheel("1.0", line))), True)
        text = (index.folder(only(index)) / "uvicorn" / "__init__.py").read_text()
        assert text == f"__version__ = '1.0'\n{line}"
    answers = page("1.0", content=wheel("1.0", "good = True\n"))
    answers["/uvicorn-1.0-py3-none-any.whl"] = wheel("1.0", "evil = True\n")
    index = Index(serve(answers), True)
    with pytest.raises(Unavailable, match=r"the wheel of uvicorn 1\.0 cannot be had"):
        index.folder(only(index))
    assert len(list((folder / "releases").glob("*"))) == 2


def test_a_wheel_that_has_gone_from_the_index_is_said(folder: Path, serve: Serve) -> None:
    answers = page("1.0", content=wheel("1.0"))
    url = serve(answers)
    [release] = Index(url, True).releases("uvicorn")
    answers.update(page("1.0", content=wheel("1.0", "other = True\n")))
    with pytest.raises(Unavailable, match=r"the index has another wheel of uvicorn 1\.0 by now"):
        Index(url, True).folder(release)


def test_a_folder_is_made_once_and_anew_where_it_is_not_as_it_was_made(folder: Path, serve: Serve) -> None:
    index = Index(serve(page("1.0", content=wheel("1.0"))), True)
    release = only(index)
    with ThreadPoolExecutor(4) as pool:
        [made] = set(pool.map(index.folder, [release] * 4))
    for damage in (
        lambda: None,
        lambda: (made / "uvicorn" / "__init__.py").write_text("__version__ = '1.1'"),
        lambda: (made / "uvicorn" / "more.py").write_text(""),
        lambda: (made / "uvicorn" / "__init__.py").unlink(),
        lambda: (made / ".seal").unlink(),
        lambda: (made / ".seal").write_text("x"),
    ):
        damage()
        assert (index.folder(release) / "uvicorn" / "__init__.py").read_text() == "__version__ = '1.0'\n"
        assert [file.name for file in (made / "uvicorn").iterdir()] == ["__init__.py"]
        assert not list(folder.glob("*.tmp"))


@pytest.mark.parametrize(("status", "user", "query"), [(403, "user:hunter2", "token="), (500, "hunter2", "x=1&token=")])
def test_a_secret_of_the_index_is_nowhere(status: int, user: str, query: str, tmp_path: Path, serve: Serve) -> None:
    url = f"{serve(page('1.0'), status=status).rstrip('/')}?{query}hunter2".replace("://", f"://{user}@")
    out = f"JSON={tmp_path / 'out.json'}"
    done = harness("bisect", out, UV_DEFAULT_INDEX=url, UV_CACHE_DIR=str(tmp_path), UV_HTTP_RETRIES="0")
    assert done.returncode == 125
    assert "hunter2" not in done.stdout + done.stderr
    kept = [file for file in Path(".environments").glob("*.json") if "hunter2" in file.read_text()]
    assert (kept, (tmp_path / "out.json").exists()) == ([], False)


def test_the_index_is_uvs_or_else_pips(no_configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting here comes before the ones above it."""
    if sources.index_url():
        pytest.skip("the machine's own configuration in /etc names an index")
    for file, text, url in (
        (".pip/pip.conf", "[global]\nindex-url = https://a.example\n", "https://a.example"),
        (".config/pip/pip.conf", "[global]\nindex-url = https://b.example\n", "https://b.example"),
        (".config/uv/uv.toml", '[[index]]\nname = "c"\nurl = "https://c.example"\n', "https://b.example"),
        (".config/uv/uv.toml", '[[index]]\nurl = "https://d.example"\ndefault = true\n', "https://d.example"),
    ):
        (no_configuration / file).write_text(text)
        assert sources.index_url() == url
    for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.setenv(name, f"https://{name}.example")
        assert sources.index_url() == sources.settings()["UV_DEFAULT_INDEX"] == f"https://{name}.example"


def test_own_authorities_are_those_of_pip_uv_or_openssl(
    no_configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sources.verification() is not True:
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")  # the machine's own in /etc
    assert sources.verification() is True
    monkeypatch.setenv("UV_NATIVE_TLS", "1")
    assert sources.verification() == (ssl.get_default_verify_paths().cafile or True)
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT"):
        monkeypatch.setenv(name, f"/{name}.pem")
        assert sources.verification() == sources.settings()["SSL_CERT_FILE"] == f"/{name}.pem"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://host:8443/simple")
    monkeypatch.setenv("PIP_TRUSTED_HOST", "host")
    assert sources.verification() is False
