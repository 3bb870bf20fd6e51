"""The releases on the index: the user's own, and pages served here for what the real one does not show."""

import hashlib
import io
import json
import os
import shutil
import ssl
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from harness import sources
from harness.index import Index
from harness.place import FOLDER, Unavailable

from .conftest import harness

CERTIFICATES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT")
JSON = "application/vnd.pypi.simple.v1+json"
Serve = Callable[..., str]


@pytest.fixture
def serve(httpserver: HTTPServer) -> Serve:
    """Serves these answers by path from now on, `/simple/uvicorn/` among them, and gives the index's URL."""

    def serve(answers: dict[str, bytes], kind: str = JSON, status: int = 200, age: int = 600) -> str:
        httpserver.clear()
        for path, content in answers.items():
            headers = {"Cache-Control": f"max-age={age}", "Content-Type": kind}
            httpserver.expect_request(path).respond_with_data(content, status, headers)
        return httpserver.url_for("/simple/")

    return serve


def wheel(text: str) -> bytes:
    """A wheel of a uvicorn that is nothing but this text."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("uvicorn/__init__.py", text)
    return file.getvalue()


def page(*versions: str, content: bytes = b"") -> dict[str, bytes]:
    """What an index answers that has a wheel of each version."""
    names = [f"uvicorn-{version}-py3-none-any.whl" for version in versions]
    hashes = {"sha256": hashlib.sha256(content).hexdigest()}
    files = [{"filename": name, "url": f"/{name}", "hashes": hashes} for name in names]
    text = json.dumps({"meta": {"api-version": "1.1"}, "name": "uvicorn", "files": files})
    return {"/simple/uvicorn/": text.encode(), **{f"/{name}": content for name in names}}


def test_a_plain_html_page_will_do_and_dates_are_not_invented(folder: Path, serve: Serve) -> None:
    name = "uvicorn-0.9.1-py3-none-any.whl"
    html = f'<a href="/{name}" data-requires-python="&gt;=3.8">{name}</a>'.encode()
    [release] = Index(serve({"/simple/uvicorn/": html}, "text/html")).releases("uvicorn")
    assert (release.released, release.dated, bool(release.wheel)) == ("", "0.9.1", True)
    assert [release.admits(python) for python in ("3.7.9", "3.8.0")] == [False, True]


def test_an_answer_is_kept_for_as_long_as_the_index_allows_or_is_gone(folder: Path, serve: Serve) -> None:
    for answers, age, expected in (
        (page("1.9"), 0, "1.9"),
        (page("1.10", "1.9", "nonsense"), 600, "1.9 1.10"),
        (page("2.0"), 600, "1.9 1.10"),
    ):
        releases = Index(serve(answers, age=age)).releases("uvicorn")
        assert " ".join(one.version for one in releases) == expected
    [kept] = folder.glob("uvicorn-*.json")
    kept.write_text(kept.read_text().replace('"until": 1', '"until": '))
    assert Index(serve({})).releases("uvicorn") == releases


def test_a_folder_is_the_wheel_that_its_index_promises(folder: Path, serve: Serve) -> None:
    """Neither another index's release of the same version, nor what has taken its place, on the index or the disk."""
    index, backport = Index(serve(page("1.0", content=wheel("")))), page("1.0", content=wheel("backport = True"))
    [release] = index.releases("uvicorn")
    file = index.folder(release) / "uvicorn" / "__init__.py"
    for damage in (file.unlink, lambda: file.write_text("evil = True"), (file.parent.parent / ".seal").unlink):
        damage()
        assert (index.folder(release), file.read_text()) == (file.parent.parent, "")
    other = Index(serve(backport).replace("localhost", "127.0.0.1"))
    assert "backport" in (other.folder(*other.releases("uvicorn")) / "uvicorn" / "__init__.py").read_text()
    shutil.rmtree(folder / "releases")
    with pytest.raises(Unavailable, match="has another wheel of uvicorn 1"):
        Index(serve(backport)).folder(release)
    assert not (folder / "releases").exists()


def test_a_secret_of_the_index_is_nowhere(tmp_path: Path, serve: Serve) -> None:
    url = f"{serve({}).rstrip('/')}?x=1&token=hunter2".replace("://", "://user:hunter2@")
    done = harness("bisect", UV_DEFAULT_INDEX=url, UV_CACHE_DIR=str(tmp_path), UV_HTTP_RETRIES="0")
    assert (done.returncode, "hunter2" in done.stdout + done.stderr) == (125, False)
    assert not [file for file in FOLDER.glob("*.json") if "hunter2" in file.read_text()]


def test_the_index_is_uvs_or_else_pips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting here comes before the ones above it."""
    for name in os.environ:
        if name.startswith(("UV_", "PIP_", "XDG_")) or name in CERTIFICATES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    if sources.index_url():
        pytest.skip("the machine's own configuration in /etc names an index")
    for file, text, host in (
        (".pip/pip.conf", "[global]\nindex-url = https://a", "a"),
        (".config/pip/pip.conf", "[global]\nindex-url = https://b", "b"),
        (".config/uv/uv.toml", '[[index]]\nname = "c"\nurl = "https://c"', "b"),
        (".config/uv/uv.toml", '[[index]]\nurl = "https://d"\ndefault = true', "d"),
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
        assert sources.index_url() == f"https://{host}"
    for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.setenv(name, f"https://{name}:8443/simple")
        assert sources.index_url() == sources.settings()["UV_DEFAULT_INDEX"] == f"https://{name}:8443/simple"
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)  # the machine's own may name certificates
    assert sources.verification() is True
    monkeypatch.setenv("UV_NATIVE_TLS", "1")
    assert sources.verification() == (ssl.get_default_verify_paths().cafile or True)
    for name in CERTIFICATES:
        monkeypatch.setenv(name, f"/{name}.pem")
        assert sources.verification() == sources.settings()["SSL_CERT_FILE"] == f"/{name}.pem"
    monkeypatch.setenv("PIP_TRUSTED_HOST", "UV_DEFAULT_INDEX")
    assert sources.verification() is False
