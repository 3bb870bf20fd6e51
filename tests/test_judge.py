"""A question and a uvicorn go in, trials come out: bases, folders, every case, what a uvicorn to come may be."""

import os
import py_compile
import re
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from harness import base as bases
from harness import folders, place
from harness.asking import app, cases
from harness.base import Base, Interpreter
from harness.index import Release
from harness.model import Cause, Inconclusive, Verdict

from .conftest import NOWHERE, REPORTED, ROOT, Judged, Judging, Source, harness, run
from .test_forks import copied

SANSIO = "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol"
FIX = ROOT / "upstream" / "fix.patch"


@pytest.mark.parametrize("ws", ["websockets", "wsproto"])
def test_every_case_on_both_sides_of_the_change(ws: str, judging: Judging, releases: dict[str, Release]) -> None:
    with judging(apps=tuple(app({"CASE": case}, ws) for case in cases())) as judge:
        fixed, broken = (judge.release(releases[version]) for version in ("0.19.0", "0.20.0"))
    assert {new.case: (old.verdict.name, new.verdict.name) for old, new in zip(fixed, broken, strict=True)} == {
        "server-headers": ("open", "rejected"),
        "accept-headers": ("rejected", "rejected"),
        "unsplit-offer": ("open", "open"),
        "header-alone": ("rejected", "open"),
        "none": ("open", "open"),
    }
    assert broken[0].sent == ["ocpp2.0.1", "ocpp2.0.1, ocpp2.0, ocpp1.6"]
    assert all(one.ran.startswith(f"uvicorn.protocols.websockets.{ws}_impl.") for one in fixed + broken)


def test_what_is_observed_is_what_make_broken_shows(judging: Judging, releases: dict[str, Release]) -> None:
    with judging(apps=(REPORTED, app({"CASE": "accept-headers"}, "websockets"))) as judge:
        reported, second = judge.release(releases["0.20.0"], observed=True)
    assert (reported.lines[0], reported.lines[-1]) == ("= connection is CONNECTING", "= connection is CLOSED")
    labels = [[line.split("<-- from ")[1] for line in one.lines if "<--" in line] for one in (reported, second)]
    assert labels == [["subprotocol=", "headers="], ["subprotocol=", "websocket.accept's headers"]]
    frames = re.findall(r'File "(.*?)"', reported.traceback)
    assert frames[0] == str(ROOT / "client.py")
    assert not [frame for frame in frames if "harness" in frame.replace(str(ROOT / ".environments"), "")]
    assert reported.traceback.endswith(reported.reason)


@pytest.mark.parametrize(
    ("version", "python", "cause", "said"),
    [
        ("0.11.8", "", Cause.OTHER_PINS, r"requires .*websockets==8"),
        ("0.12.0", "", Cause.OTHER_PINS, r"requires h11<0\.11,>=0\.8"),
        ("0.12.1", "", None, ""),
        ("0.40.0", "", None, ""),
        ("0.30.1", "3.7.17", Cause.OTHER_PYTHON, r"requires Python >=3\.8"),
    ],
)
def test_what_fits_is_what_uv_would_install_and_nothing_else_is_judged(
    version: str, python: str, cause: Cause | None, said: str, cases_base: Base, source: Source, tmp_path: Path
) -> None:
    beside = replace(cases_base, interpreter=Interpreter("python", python)) if python else cases_base
    with pytest.raises(Inconclusive, match=said, check=lambda error: error.cause is cause) if cause else nullcontext():
        folders.fit(source(version), version, beside)
    asked = [f"uvicorn=={version}", *cases_base.requirements, "--only-binary", ":all:", "--target", str(tmp_path)]
    of_python = ["--python-version", python] if python else []
    resolved = run(find_uv_bin(), "pip", "install", "--dry-run", *asked, *of_python)
    assert (resolved.returncode != 0) == (cause is not None), resolved.stderr


@pytest.mark.parametrize(
    ("version", "question", "verdict", "cause"),
    [
        ("0.3.0", {}, "inconclusive - no wheel on the index", Cause.NO_WHEEL),
        ("0.54.0", {}, "rejected - ", None),
        ("0.54.0", {"patch": FIX}, "open", None),
        ("0.20.0", {"patch": FIX}, "inconclusive - the patch does not apply: ", Cause.UNPATCHED),
        ("0.20.0", {"line": 'mkdir "$VIRTUAL_ENV/../once"', "runs": 2}, "inconclusive - 1 of 2 open", Cause.FAILED),
    ],
)
def test_a_release_is_judged_as_it_is_asked_for(
    version: str, question: Any, verdict: str, cause: Cause | None, judged: Judged
) -> None:
    trial = judged(version, **question)
    assert (trial.last_line.startswith(f"verdict: {verdict}"), trial.cause) == (True, cause)


def test_a_base_holds_its_pins_whatever_others_set_and_is_made_anew_where_it_is_changed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("uv.toml").write_text('override-dependencies = ["websockets==12.0"]\n')
    Path("settings").write_text("websockets==12.0\n")
    for name in ("UV_OVERRIDE", "UV_CONSTRAINT", "PIP_TARGET", "PYTHONPATH"):
        monkeypatch.setenv(name, str(Path("settings").absolute()))
    base = bases.of_cases(Interpreter.named())
    assert {f"{name}=={version}" for name, version in base.versions.items()} == set(base.requirements)
    (base.made() / "h11" / "_version.py").write_text("__version__ = '0'")
    assert "0.16.0" in (base.made() / "h11" / "_version.py").read_text()


def test_what_is_not_as_it_was_released_makes_no_base(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    base = bases.of_cases(Interpreter.named())
    base.made()
    [cached] = [file for file in (tmp_path / "cache").rglob("_version.py") if file.parent.name == "h11"]
    cached.write_text("__version__ = '0.16.0'")
    shutil.rmtree(base.folder)
    with pytest.raises(place.Unavailable, match=r"uv's cache has another h11/_version\.py than was released"):
        base.made()


def test_a_folder_that_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(place, "FOLDER", tmp_path / "file" / "environments")
    with pytest.raises(place.Unavailable, match="cannot write to "), place.scratch("test"):
        pass


def test_without_an_index_and_with_nothing_cached_it_says_so(tmp_path: Path) -> None:
    nothing = {"UV_CACHE_DIR": str(tmp_path), "UV_DEFAULT_INDEX": NOWHERE, "UV_HTTP_RETRIES": "0"}
    done = harness("try", "RUN=true", "WITH=fastapi", cwd=tmp_path, **nothing)
    assert (done.returncode, "Traceback" in done.stderr) == (125, False)
    assert "verdict: inconclusive - the package index cannot be reached: check the network" in done.stdout


def test_a_folder_is_judged_as_it_stands_each_time(judging: Judging, source: Source, tmp_path: Path) -> None:
    """Within a second, and with files of the same size: no bytecode of before counts. Nor does what lies at its top."""
    folder = copied(source("0.20.0"), tmp_path / "a copy")
    for name in ("server.py", "client.py", "loguru.py"):
        (folder / name).write_text("raise SystemExit('hidden')")
    config = folder / "uvicorn" / "config.py"
    text = config.read_text()
    with judging() as judge:
        for _ in range(2):
            config.write_text(text)
            assert judge.folder(folder)[0].verdict is Verdict.rejected
            config.write_text(text.replace("headers: Optional", "hEaders: Optional"))
            assert judge.folder(folder)[0].cause is not None
    assert not list(folder.rglob("__pycache__"))


def test_an_app_that_imports_a_module_of_uvicorns_gets_no_stale_bytecode(
    judged: Judged, source: Source, tmp_path: Path
) -> None:
    folder = copied(source("0.20.0"), tmp_path / "a copy")
    module = folder / "uvicorn" / "protocols" / "websockets" / "websockets_impl.py"
    text, headers = module.read_text(), "server_state.default_headers"
    assert headers in text
    module.write_text(text.replace(headers, "()".ljust(len(headers))))
    py_compile.compile(str(module))
    times = module.stat().st_atime, module.stat().st_mtime
    module.write_text(text)
    os.utime(module, times)
    (tmp_path / "app.py").write_text("import uvicorn.protocols.websockets.websockets_impl\nfrom server import *\n")
    shutil.copy(ROOT / "server.py", tmp_path)
    [mine] = [app({"APP": f"{tmp_path}/app.py"}, "websockets")]
    assert judged(folder, apps=(mine,)).verdict is Verdict.rejected


@pytest.mark.parametrize("goes_on", ["await asyncio.sleep(60)", "loop.run_in_executor(None, time.sleep, 60)"])
def test_an_app_that_goes_on_is_judged_all_the_same(
    goes_on: str, judged: Judged, source: Source, tmp_path: Path
) -> None:
    case = (ROOT / "cases" / "accept_headers.py").read_text().replace(', "headers": headers', "")
    last = f"    loop = asyncio.get_running_loop()\n    {goes_on}\n"
    (tmp_path / "app.py").write_text(f"import asyncio, time\n{case}{last}")
    [mine] = [app({"APP": f"{tmp_path}/app.py"}, "websockets")]
    assert judged(source("0.20.0"), apps=(mine,), limit=5.0).verdict is Verdict.open


def test_an_app_of_ones_own_is_one_more_case(
    judging: Judging, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found from the current folder as a file or a module, whatever it is called, and whatever lies beside it."""
    for name, text in {
        "server.py": "raise SystemExit",
        "client.py": "X = 1",
        "harness.py": "Y = 2",
        "typing_app.py": "from client import X\nfrom harness import Y\nfrom server_app import app",
        "server_app.py": (ROOT / "cases" / "none.py").read_text(),
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    asked: list[dict[str, str]] = [
        {"APP": "typing_app.py", "URLPATH": "/ws/1?x=y", "HEADER": "X-More: y\nX-Most: z"},
        {"APP": "typing_app:app", "HEADER": "Sec-WebSocket-Protocol: a"},
        {"APP": f"{tmp_path}/typing_app.py", "OFFER": "mqtt"},
    ]
    with judging(apps=tuple(app(words, "websockets") for words in asked)) as judge:
        opened, rejected, other = judge.folder(source("0.20.0"), observed=True)
    assert (opened.verdict, rejected.verdict, other.cause) == (Verdict.open, Verdict.rejected, Cause.OTHER_ANSWER)
    assert {"> GET /ws/1?x=y HTTP/1.1", "< x-more: y", "< x-most: z"} <= {*opened.lines}
    assert "unsupported subprotocol: ocpp2.0.1" in other.reason


def test_a_uvicorn_that_leads_to_another_one_is_not_judged(judged: Judged, source: Source, tmp_path: Path) -> None:
    line = f"__path__.insert(0, {str(source('0.19.0') / 'uvicorn')!r})"
    trial = judged(copied(source("0.20.0"), tmp_path / "a copy", line))
    assert trial.reason.startswith("uvicorn came from elsewhere: ")


@pytest.mark.parametrize("websockets", [f'    "websockets": "{SANSIO}",\n', ""], ids=["mapped", "gone"])
def test_a_uvicorn_to_come_says_what_ran_or_that_the_name_is_gone(
    websockets: str, judged: Judged, source: Source, tmp_path: Path
) -> None:
    """`websockets` may mean websockets-sansio one day, or be no more."""
    config = copied(source("0.54.0"), tmp_path / "a copy") / "uvicorn" / "config.py"
    text, count = re.subn(r'(?m)^    "websockets": ".*",\n', websockets, config.read_text())
    assert count == 1
    config.write_text(text)
    trial = judged(config.parent.parent, base=bases.of_cases(Interpreter.named(), websockets="17.4"))
    if websockets:
        assert (trial.verdict, trial.ran) == (Verdict.rejected, SANSIO.replace(":", "."))
    else:
        assert trial.cause is Cause.NO_IMPLEMENTATION
        assert trial.reason == "uvicorn has no websockets; it has auto, websockets-sansio, wsproto"


@pytest.mark.slow
def test_another_python_judges_the_same(judged: Judged) -> None:
    base = bases.of_cases(Interpreter.named("3.8"))
    assert [judged(version, base=base).verdict.name for version in ("0.19.0", "0.20.0")] == ["open", "rejected"]
    told = judged("0.20.0", base=base, line="python -c 'import uvicorn' && python --version")
    assert told.reason.startswith("status 0; Python 3.8.")
