"""A question and a uvicorn go in, trials come out: bases, folders, one's own app, what a uvicorn to come may be."""

import os
import py_compile
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from harness import base, folders, place
from harness.asking import app
from harness.model import Cause, Inconclusive, Verdict

from .conftest import REPORTED, ROOT, Judged, Judging, Source, run
from .test_forks import copied


def test_what_a_trial_tells_is_what_make_broken_shows(judging: Judging, source: Source) -> None:
    with judging(apps=(REPORTED, app({"CASE": "accept-headers"}, "websockets"))) as judge:
        reported, second = judge.folder(source("0.20.0"))
    assert (reported.lines[0], reported.lines[-1]) == ("= connection is CONNECTING", "= connection is CLOSED")
    labels = [[line.split("<-- from ")[1] for line in one.lines if "<--" in line] for one in (reported, second)]
    assert labels == [["subprotocol=", "headers="], ["subprotocol=", "accept's headers"]]
    assert reported.traceback.endswith(reported.reason)


def test_what_fits_is_what_uv_would_install(source: Source, tmp_path: Path) -> None:
    cases = base.of_cases(base.Interpreter.find())
    table = [("0.12.0", "3.11.7", "OTHER_PINS"), ("0.12.1", "3.11.7", ""), ("0.30.1", "3.7.17", "OTHER_PYTHON")]
    for version, python, cause in table:
        found = ""
        try:
            folders.fit(source(version), version, replace(cases, interpreter=base.Interpreter("", python)))
        except Inconclusive as error:
            found = error.cause.name
        asked = [f"uvicorn=={version}", *cases.requirements, "--python-version", python]
        done = run(find_uv_bin(), "pip", "install", "--dry-run", "--only-binary", ":all:", *asked, "--target", tmp_path)
        assert (found, done.returncode == 0) == (cause, not cause), done.stderr


def test_what_cannot_be_judged_as_it_is_asked_for_is_inconclusive(judged: Judged) -> None:
    fix = ROOT / "upstream" / "fix.patch"
    table: list[tuple[str, dict[str, Any]]] = [
        ("the patch does not apply: ", {"patch": fix}),
        ("the patch changes nothing", {"patch": fix.with_name("test.patch")}),
        ("1 of 2 open", {"line": 'mkdir "$VIRTUAL_ENV/../once"', "runs": 2}),
    ]
    for reason, question in table:
        assert judged("0.20.0", **question).last_line.startswith(f"verdict: inconclusive - {reason}")


def test_a_base_holds_its_pins_as_released(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the current folder's settings and uv's cache say."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("uv.toml").write_text('override-dependencies = ["websockets==12.0"]\n')
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    made = base.of_cases(base.Interpreter.find())
    assert {f"{name}=={version}" for name, version in made.versions.items()} == set(made.requirements)
    [cached] = [file for file in (tmp_path / "cache").rglob("_version.py") if file.parent.name == "h11"]
    cached.write_text("__version__ = '0.16.0'")
    shutil.rmtree(made.folder)
    with pytest.raises(place.Unavailable, match=r"uv's cache has another h11/_version\.py than was released"):
        made.made()


def test_a_folder_is_judged_as_it_stands_each_time(judging: Judging, source: Source, tmp_path: Path) -> None:
    """Within a second, and with files of the same size: no bytecode of before counts, whoever imports it first. Nor
    does what lies at the folder's top."""
    folder, first = copied(source("0.20.0"), tmp_path / "a copy"), tmp_path / "first.py"
    for name in ("server.py", "client.py", "loguru.py"):
        (folder / name).write_text("raise SystemExit('hidden')")
    module = folder / "uvicorn" / "protocols" / "websockets" / "websockets_impl.py"
    text, headers = module.read_text(), "server_state.default_headers"
    changed = text.replace(headers, "()".ljust(len(headers)))
    first.write_text(f"import uvicorn.protocols.websockets.websockets_impl\n{(ROOT / 'server.py').read_text()}")
    with judging(apps=(app({"APP": str(first)}, "websockets"), REPORTED)) as judge:
        for content, before, verdict in ((text, changed, Verdict.rejected), (changed, text, Verdict.open)):
            module.write_text(before)
            py_compile.compile(str(module))
            times = module.stat().st_atime, module.stat().st_mtime
            module.write_text(content)
            os.utime(module, times)
            assert [one.verdict for one in judge.folder(folder)] == [verdict] * 2
    assert len(list(folder.rglob("__pycache__"))) == 1


def test_ones_own_app(judging: Judging, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found from the current folder as a file of any name or a module, whatever lies beside it."""
    for name, text in {
        "server.py": "raise SystemExit",
        "client.py": "X = 1",
        "harness.py": "Y = 2",
        "queue.py": "from client import X\nfrom harness import Y\nfrom server_app import app",
        "server_app.py": (ROOT / "cases" / "none.py").read_text(),
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    asked: list[dict[str, str]] = [
        {"APP": "queue.py", "URLPATH": "/ws/1?x=y", "HEADER": "X-More: y\nX-Most: z"},
        {"APP": "server_app:app", "HEADER": "Sec-WebSocket-Protocol: a"},
        {"APP": f"{tmp_path}/queue.py", "OFFER": "mqtt"},
    ]
    with judging(apps=tuple(app(words, "websockets") for words in asked)) as judge:
        opened, rejected, other = judge.folder(source("0.20.0"))
    assert (opened.verdict, rejected.verdict, other.cause) == (Verdict.open, Verdict.rejected, Cause.OTHER_ANSWER)
    assert {"> GET /ws/1?x=y HTTP/1.1", "< x-more: y", "< x-most: z"} <= {*opened.lines}
    assert "unsupported subprotocol: ocpp2.0.1" in other.reason


def test_what_ran_is_told_and_is_the_uvicorn_asked_for(judged: Judged, source: Source, tmp_path: Path) -> None:
    """In a uvicorn to come `websockets` may mean websockets-sansio, or be no more."""
    sansio = "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol"
    newest = base.of_cases(base.Interpreter.find(), websockets="17.4")
    config = copied(source("0.54.0"), tmp_path / "to come") / "uvicorn" / "config.py"
    text = config.read_text()
    for means, said in {
        f'    "websockets": "{sansio}",\n': f"rejected {sansio.replace(':', '.')} InvalidHeader: ",
        "": "inconclusive  uvicorn has no websockets; it has auto, websockets-sansio, wsproto",
    }.items():
        changed, count = re.subn(r'(?m)^    "websockets": ".*",\n', means, text)
        config.write_text(changed)
        trial = judged(config.parent.parent, base=newest)
        assert (count, f"{trial.verdict.name} {trial.ran} {trial.reason}"[: len(said)]) == (1, said)
    leads = f"__path__.insert(0, {str(source('0.19.0') / 'uvicorn')!r})"
    trial = judged(copied(source("0.20.0"), tmp_path / "leads to another", leads))
    assert trial.reason.startswith("uvicorn came from elsewhere: ")


@pytest.mark.slow
def test_another_python_judges_the_same(judged: Judged) -> None:
    other = base.of_cases(base.Interpreter.find("3.8"))
    assert [judged(version, base=other).verdict.name for version in ("0.19.0", "0.20.0")] == ["open", "rejected"]
    told = judged("0.20.0", base=other, line="python -c 'import uvicorn' && python --version")
    assert told.reason.startswith("status 0; Python 3.8.")
