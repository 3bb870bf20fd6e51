"""A question and a uvicorn go in, trials come out: bases, folders, every case, what a uvicorn to come may be."""

import os
import py_compile
import re
import shutil
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
from harness.model import App, Cause, Inconclusive, Verdict

from .conftest import REPORTED, ROOT, Judged, Judging, Source, run
from .test_forks import copied

SANSIO = "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol"
FIX = ROOT / "upstream" / "fix.patch"


def own(file: Path, text: str) -> tuple[App]:
    """An app of one's own, in a file."""
    file.write_text(text)
    return (app({"APP": str(file)}, "websockets"),)


def test_every_case_on_both_sides_of_the_change(judging: Judging, releases: dict[str, Release]) -> None:
    apps = [app({"CASE": case}, ws) for case in cases() for ws in ("websockets", "wsproto")]
    with judging(apps=tuple(apps)) as judge:
        fixed, broken = (judge.release(releases[version]) for version in ("0.19.0", "0.20.0"))
    found = [(new.case, old.verdict.name, new.verdict.name) for old, new in zip(fixed, broken, strict=True)]
    assert found[::2] == found[1::2]
    assert found[::2] == [
        ("server-headers", "open", "rejected"),
        ("accept-headers", "rejected", "rejected"),
        ("unsplit-offer", "open", "open"),
        ("header-alone", "rejected", "open"),
        ("none", "open", "open"),
    ]
    assert broken[0].sent == ["ocpp2.0.1", "ocpp2.0.1, ocpp2.0, ocpp1.6"]
    for trial in fixed + broken:
        assert trial.ran.startswith(f"uvicorn.protocols.websockets.{trial.implementation}_impl.")


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


def test_what_fits_is_what_uv_would_install(cases_base: Base, source: Source, tmp_path: Path) -> None:
    table = [("0.12.0", "3.11.7", "OTHER_PINS"), ("0.12.1", "3.11.7", ""), ("0.30.1", "3.7.17", "OTHER_PYTHON")]
    for version, python, cause in table:
        found = ""
        try:
            folders.fit(source(version), version, replace(cases_base, interpreter=Interpreter("", python)))
        except Inconclusive as error:
            found = error.cause.name
        asked = [f"uvicorn=={version}", *cases_base.requirements, "--python-version", python]
        done = run(find_uv_bin(), "pip", "install", "--dry-run", "--only-binary", ":all:", *asked, "--target", tmp_path)
        assert (found, done.returncode == 0) == (cause, not cause), done.stderr


def test_a_release_is_judged_as_it_is_asked_for(judged: Judged) -> None:
    apart = {"line": 'mkdir "$VIRTUAL_ENV/../once"', "runs": 2}
    table: list[tuple[str, Any, str, Cause | None]] = [
        ("0.54.0", {"patch": FIX}, "open", None),
        ("0.20.0", {"patch": FIX}, "inconclusive - the patch does not apply: ", Cause.UNPATCHED),
        ("0.20.0", {"patch": FIX.with_name("test.patch")}, "inconclusive - the patch changes nothing", Cause.UNPATCHED),
        ("0.20.0", apart, "inconclusive - 1 of 2 open", Cause.FAILED),
    ]
    for version, question, verdict, cause in table:
        trial = judged(version, **question)
        assert (trial.last_line.startswith(f"verdict: {verdict}"), trial.cause) == (True, cause), trial


def test_a_base_holds_its_pins_as_they_were_released_whatever_others_set(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("uv.toml").write_text('override-dependencies = ["websockets==12.0"]\n')
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    base = bases.of_cases(Interpreter.named())
    assert {f"{name}=={version}" for name, version in base.versions.items()} == set(base.requirements)
    [cached] = [file for file in (tmp_path / "cache").rglob("_version.py") if file.parent.name == "h11"]
    cached.write_text("__version__ = '0.16.0'")
    shutil.rmtree(base.folder)
    with pytest.raises(place.Unavailable, match=r"uv's cache has another h11/_version\.py than was released"):
        base.made()


def test_a_folder_is_judged_as_it_stands_each_time(judging: Judging, source: Source, tmp_path: Path) -> None:
    """Within a second, and with files of the same size: no bytecode of before counts, whoever imports it first. Nor
    does what lies at the folder's top."""
    folder = copied(source("0.20.0"), tmp_path / "a copy")
    for name in ("server.py", "client.py", "loguru.py"):
        (folder / name).write_text("raise SystemExit('hidden')")
    module = folder / "uvicorn" / "protocols" / "websockets" / "websockets_impl.py"
    text, headers = module.read_text(), "server_state.default_headers"
    changed = text.replace(headers, "()".ljust(len(headers)))
    first = f"import uvicorn.protocols.websockets.websockets_impl\n{(ROOT / 'server.py').read_text()}"
    with judging(apps=(*own(tmp_path / "app.py", first), REPORTED)) as judge:
        for content, before, verdict in ((text, changed, Verdict.rejected), (changed, text, Verdict.open)):
            module.write_text(before)
            py_compile.compile(str(module))
            times = module.stat().st_atime, module.stat().st_mtime
            module.write_text(content)
            os.utime(module, times)
            assert [one.verdict for one in judge.folder(folder)] == [verdict] * 2
    assert len(list(folder.rglob("__pycache__"))) == 1


def test_an_app_that_goes_on_is_judged_all_the_same(judged: Judged, source: Source, tmp_path: Path) -> None:
    case = (ROOT / "cases" / "accept_headers.py").read_text().replace(', "headers": headers', "")
    last = "    asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)\n    await asyncio.sleep(60)\n"
    apps = own(tmp_path / "app.py", f"import asyncio, time\n{case}{last}")
    assert judged(source("0.20.0"), apps=apps, limit=5.0).verdict is Verdict.open


def test_an_app_of_ones_own_is_one_more_case(
    judging: Judging, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found from the current folder as a file or a module, whatever lies beside it."""
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


@pytest.mark.parametrize(
    ("means", "said"),
    [
        (f'    "websockets": "{SANSIO}",\n', f"rejected {SANSIO.replace(':', '.')} InvalidHeader: "),
        ("", "inconclusive  uvicorn has no websockets; it has auto, websockets-sansio, wsproto"),
    ],
)
def test_a_uvicorn_to_come_says_what_ran_or_that_the_name_is_gone(
    means: str, said: str, judged: Judged, source: Source, tmp_path: Path
) -> None:
    """`websockets` may mean websockets-sansio one day, or be no more."""
    config = copied(source("0.54.0"), tmp_path / "a copy") / "uvicorn" / "config.py"
    text, count = re.subn(r'(?m)^    "websockets": ".*",\n', means, config.read_text())
    config.write_text(text)
    trial = judged(config.parent.parent, base=bases.of_cases(Interpreter.named(), websockets="17.4"))
    assert (count, f"{trial.verdict.name} {trial.ran} {trial.reason}"[: len(said)]) == (1, said)


@pytest.mark.slow
def test_another_python_judges_the_same(judged: Judged) -> None:
    base = bases.of_cases(Interpreter.named("3.8"))
    assert [judged(version, base=base).verdict.name for version in ("0.19.0", "0.20.0")] == ["open", "rejected"]
    told = judged("0.20.0", base=base, line="python -c 'import uvicorn' && python --version")
    assert told.reason.startswith("status 0; Python 3.8.")
