"""A question and a uvicorn go in, trials come out: bases, folders, every case, what a uvicorn to come may be."""

import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from uv import find_uv_bin

from harness import base as bases
from harness import folders, place
from harness.asking import app, cases
from harness.base import Base, Interpreter
from harness.index import Release
from harness.judge import Judge
from harness.model import App, Cause, Trial, Verdict
from harness.model import Inconclusive as Unfit

from .conftest import NOWHERE, ROOT, harness, run

Judging = Callable[..., Judge]
Source = Callable[[str], Path]
SANSIO = "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol"
BREAK = """
async def app(scope, receive, send):
    raise SystemError("the app is broken")
"""


def every_case(ws: str) -> tuple[App, ...]:
    return tuple(app({"CASE": case}, ws) for case in cases())


def verdicts(trials: list[Trial]) -> dict[str, str]:
    return {one.case: one.verdict.name for one in trials}


@pytest.mark.parametrize("ws", ["websockets", "wsproto"])
def test_every_case_on_both_sides_of_the_change(ws: str, judging: Judging, releases: dict[str, Release]) -> None:
    with judging(apps=every_case(ws)) as judge:
        fixed, broken = (judge.release(releases[version]) for version in ("0.19.0", "0.20.0"))
    both = {"accept-headers": "rejected", "unsplit-offer": "open", "none": "open"}
    assert verdicts(fixed) == {**both, "server-headers": "open", "header-alone": "rejected"}
    assert verdicts(broken) == {**both, "server-headers": "rejected", "header-alone": "open"}
    assert [one.sent for one in broken if one.case == "server-headers"] == [
        ["ocpp2.0.1", "ocpp2.0.1, ocpp2.0, ocpp1.6"]
    ]
    assert all(one.ran.startswith(f"uvicorn.protocols.websockets.{ws}_impl.") for one in fixed + broken)


def test_what_is_observed_is_what_make_broken_shows(judging: Judging, releases: dict[str, Release]) -> None:
    apps = (app({}, "websockets"), app({"CASE": "accept-headers"}, "websockets"))
    with judging(apps=apps) as judge:
        reported, second = judge.release(releases["0.20.0"], observed=True)
    assert reported.lines[0] == "= connection is CONNECTING"
    assert reported.lines[-1] == "= connection is CLOSED"
    labels = [re.sub(r".*<-- from ", "", line) for line in reported.lines if "<--" in line]
    assert labels == ["subprotocol=", "headers="]
    assert [line[-26:] for line in second.lines if "<--" in line][-1] == "websocket.accept's headers"
    frames = re.findall(r'File "(.*?)"', reported.traceback)
    assert frames[0] == str(ROOT / "client.py")
    assert not [frame for frame in frames if "harness" in frame.replace(str(ROOT / ".environments"), "")]
    assert reported.traceback.endswith(reported.reason)


def test_a_release_that_requires_something_else_is_not_judged(cases_base: Base, source: Source) -> None:
    for version, said in (("0.11.8", "websockets==8"), ("0.12.0", "requires h11<0.11,>=0.8")):
        with pytest.raises(Unfit, match=said) as caught:
            folders.fit(source(version), version, cases_base)
        assert caught.value.cause is Cause.OTHER_PINS
    with pytest.raises(Unfit, match=r"requires Python >=3\.8") as caught:
        folders.fit(source("0.30.1"), "0.30.1", replace(cases_base, interpreter=Interpreter("python3.7", "3.7.17")))
    assert caught.value.cause is Cause.OTHER_PYTHON
    folders.fit(source("0.12.1"), "0.12.1", cases_base)


@pytest.mark.parametrize("version", ["0.11.8", "0.12.1", "0.40.0"])
def test_what_fits_is_what_uv_would_install(version: str, cases_base: Base, source: Source, tmp_path: Path) -> None:
    asked = [f"uvicorn=={version}", *cases_base.requirements, "--only-binary", "uvicorn", "--target", str(tmp_path)]
    resolved = run(find_uv_bin(), "pip", "install", "--dry-run", *asked)
    try:
        folders.fit(source(version), version, cases_base)
        assert resolved.returncode == 0
    except Unfit:
        assert resolved.returncode != 0


def test_a_release_without_a_wheel_is_no_verdict(judging: Judging, releases: dict[str, Release]) -> None:
    with judging(apps=(app({}, "websockets"),)) as judge:
        [trial] = judge.release(releases["0.3.0"])
    assert (trial.cause, trial.reason) == (Cause.NO_WHEEL, "no wheel on the index")


def test_a_base_is_made_anew_where_it_is_not_as_it_was_made(folder: Path) -> None:
    beside = bases.of_cases(Interpreter.named())
    made = beside.made()
    (made / "h11" / "_version.py").write_text("__version__ = '0'")
    assert "0.16.0" in (beside.made() / "h11" / "_version.py").read_text()
    assert not list(folder.glob("*.tmp"))
    assert {f"{name}=={version}" for name, version in beside.versions.items()} == set(beside.requirements)


def test_of_several_builds_at_once_one_wins(folder: Path) -> None:
    beside = bases.of_cases(Interpreter.named())
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: beside.made(), range(4))) == {beside.folder}
    assert [path.name for path in (folder / "bases").iterdir()] == [beside.folder.name]


@pytest.mark.parametrize("how", ["UV_OVERRIDE", "UV_CONSTRAINT", "PIP_TARGET", "uv.toml", "PYTHONPATH"])
def test_settings_of_others_do_not_change_what_is_installed(
    how: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("settings").write_text("websockets==12.0\n")
    Path("uv.toml").write_text('override-dependencies = ["websockets==12.0"]\n')
    if how != "uv.toml":
        monkeypatch.setenv(how, str(Path("settings").absolute()))
    assert bases.of_cases(Interpreter.named()).versions["websockets"] == "10.4"


def test_a_folder_that_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(place, "FOLDER", tmp_path / "file" / "environments")
    with pytest.raises(place.Unavailable, match="cannot write to "), place.scratch("test"):
        pass


def test_without_an_index_and_with_nothing_cached_it_says_so(tmp_path: Path) -> None:
    done = harness(
        "try", "RUN=true", "WITH=fastapi", UV_CACHE_DIR=str(tmp_path), UV_DEFAULT_INDEX=NOWHERE, UV_HTTP_RETRIES="0"
    )
    assert done.returncode == 125
    assert re.search("verdict: inconclusive - the package index cannot be reached: check the network", done.stdout)
    assert "Traceback" not in done.stderr


def test_a_folder_is_judged_as_it_stands_each_time(judging: Judging, source: Source, tmp_path: Path) -> None:
    """Within a second, and with files of the same size: no bytecode of before counts."""
    copy = Path(shutil.copytree(source("0.20.0"), tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__")))
    config = copy / "uvicorn" / "config.py"
    text = config.read_text()
    with judging(apps=(app({}, "websockets"),)) as judge:
        for _ in range(2):
            config.write_text(text)
            assert judge.folder(copy)[0].verdict is Verdict.rejected
            config.write_text(text.replace("headers: Optional", "hEaders: Optional"))
            assert judge.folder(copy)[0].cause is not None
    assert not list(copy.rglob("__pycache__"))


def test_an_app_of_ones_own_is_one_more_case(judging: Judging, source: Source, tmp_path: Path) -> None:
    """Whatever its file is called, and whatever lies beside it."""
    beside = {"server.py": "raise SystemExit", "client.py": "X = 1", "harness.py": "Y = 2"}
    for name, text in {
        **beside,
        "typing_app.py": "from client import X\nfrom harness import Y\nfrom server_app import app",
    }.items():
        (tmp_path / name).write_text(text)
    shutil.copy(ROOT / "cases" / "none.py", tmp_path / "server_app.py")
    (tmp_path / "broken.py").write_text(BREAK)
    apps = [
        app({"APP": f"{tmp_path / name}.py", **words}, "websockets")
        for name, words in (
            ("typing_app", {}),
            ("typing_app", {"HEADER": "Sec-WebSocket-Protocol: a"}),
            ("typing_app", {"OFFER": "mqtt"}),
            ("broken", {}),
        )
    ]
    with judging(apps=tuple(apps)) as judge:
        opened, rejected, other, failed = judge.folder(source("0.20.0"))
    assert (opened.verdict, rejected.verdict) == (Verdict.open, Verdict.rejected)
    assert (other.cause, "unsupported subprotocol: ocpp2.0.1" in other.reason) == (
        Cause.OTHER_ANSWER,
        True,
    )
    assert failed.reason.endswith("the server logged SystemError: the app is broken")


def test_a_server_py_at_the_top_of_a_checkout_does_not_hide_ours(
    judging: Judging, source: Source, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(source("0.20.0"), tmp_path / "copy"))
    for name in ("server.py", "client.py", "loguru.py"):
        (copy / name).write_text("raise SystemExit('hidden')")
    with judging(apps=(app({}, "websockets"),)) as judge:
        assert judge.folder(copy)[0].verdict is Verdict.rejected


def test_a_patch_is_applied_to_a_copy_or_told_not_to_apply(
    judging: Judging, releases: dict[str, Release], source: Source, tmp_path: Path
) -> None:
    apps = (app({}, "websockets"),)
    with judging(apps=apps, patch=ROOT / "upstream" / "fix.patch") as judge:
        assert judge.release(releases["0.54.0"])[0].verdict is Verdict.open
        [other] = judge.release(releases["0.20.0"])
    assert (other.cause, other.reason.startswith("the patch does not apply: ")) == (Cause.UNPATCHED, True)
    with judging(apps=apps) as judge:
        assert judge.release(releases["0.54.0"])[0].verdict is Verdict.rejected


def test_runs_that_do_not_agree_are_inconclusive(judging: Judging, source: Source, tmp_path: Path) -> None:
    line = f"if [ -e {tmp_path}/once ]; then exit 1; fi; touch {tmp_path}/once"
    with judging(line=line, runs=2) as judge:
        assert judge.folder(source("0.20.0"))[0].reason == "1 of 2 open"


def test_a_uvicorn_to_come_says_what_ran_or_that_the_name_is_gone(
    judging: Judging, source: Source, tmp_path: Path
) -> None:
    """`websockets` may mean websockets-sansio one day, or be no more."""
    for line, name in ((f'    "websockets": "{SANSIO}",\n', "mapped"), ("", "gone")):
        copy = Path(shutil.copytree(source("0.54.0"), tmp_path / name))
        config = copy / "uvicorn" / "config.py"
        text, count = re.subn(r'(?m)^    "websockets": ".*",\n', line, config.read_text())
        assert count == 1
        config.write_text(text)
    newest = bases.of_cases(Interpreter.named(), websockets="17.4")
    with judging(apps=(app({}, "websockets"),), base=newest) as judge:
        mapped, gone = judge.folder(tmp_path / "mapped")[0], judge.folder(tmp_path / "gone")[0]
    assert (mapped.verdict, mapped.ran) == (Verdict.rejected, SANSIO.replace(":", "."))
    assert gone.cause is Cause.NO_IMPLEMENTATION
    assert gone.reason == "uvicorn has no websockets; it has auto, websockets-sansio, wsproto"


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.8", "3.12"])
def test_another_python_judges_the_same(version: str, judging: Judging, source: Source) -> None:
    beside = bases.of_cases(Interpreter.named(version))
    assert beside.interpreter.version.startswith(version)
    with judging(apps=(app({}, "websockets"),), base=beside) as judge:
        found = [judge.folder(source(one))[0].verdict for one in ("0.19.0", "0.20.0")]
    assert found == [Verdict.open, Verdict.rejected]
