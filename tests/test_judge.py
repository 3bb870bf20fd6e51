"""A question and a uvicorn go in, trials come out: bases, folders, every case, what a uvicorn to come may be."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from uv import find_uv_bin

from harness import base as bases
from harness import folders, place
from harness.asking import app, cases
from harness.base import Base, Interpreter
from harness.index import Release
from harness.model import Cause, Inconclusive, Verdict

from .conftest import NOWHERE, REPORTED, ROOT, Judging, Source, harness, run

SANSIO = "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol"
BREAK = """
async def app(scope, receive, send):
    raise SystemError("the app is broken")
"""


@pytest.fixture
def copied(source: Source, tmp_path: Path) -> Source:
    """A copy of a release that a test may change."""
    return lambda version: Path(shutil.copytree(source(version), tmp_path / f"copy of {version}", dirs_exist_ok=True))


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
    with pytest.raises(Inconclusive, match=said) if cause else nullcontext() as caught:
        folders.fit(source(version), version, beside)
    assert not cause or caught.value.cause is cause
    asked = [f"uvicorn=={version}", *cases_base.requirements, "--only-binary", ":all:", "--target", str(tmp_path)]
    of_python = ["--python-version", python] if python else []
    resolved = run(find_uv_bin(), "pip", "install", "--dry-run", *asked, *of_python)
    assert (resolved.returncode != 0) == (cause is not None), resolved.stderr


def test_a_release_without_a_wheel_is_no_verdict(judging: Judging, releases: dict[str, Release]) -> None:
    with judging() as judge:
        [trial] = judge.release(releases["0.3.0"])
    assert (trial.cause, trial.reason) == (Cause.NO_WHEEL, "no wheel on the index")


def test_a_base_is_made_once_and_anew_where_it_is_not_as_it_was_made(folder: Path) -> None:
    beside = bases.of_cases(Interpreter.named())
    with ThreadPoolExecutor(4) as pool:
        [made] = set(pool.map(lambda _: beside.made(), range(4)))
    assert [path.name for path in (folder / "bases").iterdir()] == [made.name]
    (made / "h11" / "_version.py").write_text("__version__ = '0'")
    assert "0.16.0" in (beside.made() / "h11" / "_version.py").read_text()
    assert not list(folder.glob("*.tmp"))
    assert {f"{name}=={version}" for name, version in beside.versions.items()} == set(beside.requirements)


def test_settings_of_others_do_not_change_what_is_installed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("uv.toml").write_text('override-dependencies = ["websockets==12.0"]\n')
    Path("settings").write_text("websockets==12.0\n")
    for name in ("UV_OVERRIDE", "UV_CONSTRAINT", "PIP_TARGET", "PYTHONPATH"):
        monkeypatch.setenv(name, str(Path("settings").absolute()))
    assert bases.of_cases(Interpreter.named()).versions["websockets"] == "10.4"


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


def test_a_folder_is_judged_as_it_stands_each_time(judging: Judging, copied: Source) -> None:
    """Within a second, and with files of the same size: no bytecode of before counts. Nor does what lies at its top."""
    folder = copied("0.20.0")
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)
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


def test_an_app_of_ones_own_is_one_more_case(judging: Judging, source: Source, tmp_path: Path) -> None:
    """Whatever its file is called, and whatever lies beside it."""
    for name, text in {
        "server.py": "raise SystemExit",
        "client.py": "X = 1",
        "harness.py": "Y = 2",
        "broken.py": BREAK,
        "typing_app.py": "from client import X\nfrom harness import Y\nfrom server_app import app",
        "server_app.py": (ROOT / "cases" / "none.py").read_text(),
    }.items():
        (tmp_path / name).write_text(text)
    own = {"APP": f"{tmp_path}/typing_app.py"}
    asked = [
        own,
        {**own, "HEADER": "Sec-WebSocket-Protocol: a"},
        {**own, "OFFER": "mqtt"},
        {"APP": f"{tmp_path}/broken.py"},
    ]
    with judging(apps=tuple(app(words, "websockets") for words in asked)) as judge:
        opened, rejected, other, failed = judge.folder(source("0.20.0"))
    assert (opened.verdict, rejected.verdict, other.cause) == (Verdict.open, Verdict.rejected, Cause.OTHER_ANSWER)
    assert "unsupported subprotocol: ocpp2.0.1" in other.reason
    assert failed.reason.endswith("the server logged SystemError: the app is broken")


def test_a_uvicorn_from_elsewhere_is_not_judged(judging: Judging, source: Source, copied: Source) -> None:
    """A folder of uvicorn that leads its imports to another one."""
    folder = copied("0.20.0")
    with (folder / "uvicorn" / "__init__.py").open("a") as file:
        file.write(f"\n__path__.insert(0, {str(source('0.19.0') / 'uvicorn')!r})\n")
    with judging() as judge:
        assert judge.folder(folder)[0].reason.startswith("uvicorn came from elsewhere: ")


def test_a_patch_is_applied_to_a_copy_or_told_not_to_apply(judging: Judging, releases: dict[str, Release]) -> None:
    with judging(patch=ROOT / "upstream" / "fix.patch") as judge:
        assert judge.release(releases["0.54.0"])[0].verdict is Verdict.open
        [other] = judge.release(releases["0.20.0"])
    assert (other.cause, other.reason.startswith("the patch does not apply: ")) == (Cause.UNPATCHED, True)
    with judging() as judge:
        assert judge.release(releases["0.54.0"])[0].verdict is Verdict.rejected


def test_runs_that_do_not_agree_are_inconclusive(judging: Judging, source: Source, tmp_path: Path) -> None:
    line = f"if [ -e {tmp_path}/once ]; then exit 1; fi; touch {tmp_path}/once"
    with judging(line=line, runs=2) as judge:
        assert judge.folder(source("0.20.0"))[0].reason == "1 of 2 open"


@pytest.mark.parametrize("websockets", [f'    "websockets": "{SANSIO}",\n', ""], ids=["mapped", "gone"])
def test_a_uvicorn_to_come_says_what_ran_or_that_the_name_is_gone(
    websockets: str, judging: Judging, copied: Source
) -> None:
    """`websockets` may mean websockets-sansio one day, or be no more."""
    config = copied("0.54.0") / "uvicorn" / "config.py"
    text, count = re.subn(r'(?m)^    "websockets": ".*",\n', websockets, config.read_text())
    assert count == 1
    config.write_text(text)
    with judging(base=bases.of_cases(Interpreter.named(), websockets="17.4")) as judge:
        [trial] = judge.folder(config.parent.parent)
    if websockets:
        assert (trial.verdict, trial.ran) == (Verdict.rejected, SANSIO.replace(":", "."))
    else:
        assert trial.cause is Cause.NO_IMPLEMENTATION
        assert trial.reason == "uvicorn has no websockets; it has auto, websockets-sansio, wsproto"


@pytest.mark.slow
def test_another_python_judges_the_same(judging: Judging, source: Source) -> None:
    beside = bases.of_cases(Interpreter.named("3.8"))
    assert beside.interpreter.version.startswith("3.8.")
    with judging(base=beside) as judge:
        assert [judge.folder(source(one))[0].verdict.name for one in ("0.19.0", "0.20.0")] == ["open", "rejected"]
