"""What is built: bases with the pins and nothing else, releases as folders, and the environments of make."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from packaging.version import Version
from uv import find_uv_bin

from harness import environment, shelf
from harness.environment import Unavailable
from harness.index import listing
from harness.model import Cause
from harness.shelf import ALSO, Interpreter, Setting, Unfit, pins

from .conftest import NO_INDEX, ROOT, run

pytestmark = pytest.mark.usefixtures("folder")

HERE = shelf.interpreter()
PINNED = Setting(pins(), HERE)
PROGRAM = (
    "import sys; from pathlib import Path; from harness import environment, shelf;"
    " environment.FOLDER = shelf.FOLDER = Path(sys.argv[1]);"
    " print(shelf.base(shelf.Setting(shelf.pins(), shelf.interpreter()))); print(shelf.release(sys.argv[2]))"
)


def installed(base: Path) -> dict[str, str]:
    """The distributions that a base's own Python sees, and that their modules can be imported."""
    program = (
        "import importlib, importlib.metadata as m\n"
        "for d in m.distributions():\n"
        "    print(d.metadata['Name'], d.version); importlib.import_module(d.metadata['Name'].replace('-', '_'))"
    )
    printed = run(base / "bin" / "python", "-I", "-c", program)
    assert printed.returncode == 0, printed.stderr
    return {line.split()[0].replace("_", "-"): line.split()[1] for line in printed.stdout.splitlines()}


def having(setting: Setting) -> dict[str, str]:
    return dict(pin.split("==") for pin in (*setting.pins, *ALSO))


def unfit(version: str) -> str:
    """What a release requires that the pins do not give."""
    try:
        shelf.fit(shelf.release(version), having(PINNED), HERE.version)
    except Unfit as error:
        assert error.cause is Cause.OTHER_PINS
        return str(error)
    return ""


def test_a_base_has_the_pins_and_nothing_else_and_a_release_is_uvicorn_alone(folder: Path) -> None:
    assert "uvicorn" not in having(PINNED)
    other = Setting(pins(websockets="11.0.3", wsproto="1.1.0"), HERE)
    for setting in (PINNED, other):
        assert installed(shelf.base(setting)) == having(setting)
    assert having(other) == {**having(PINNED), "websockets": "11.0.3", "wsproto": "1.1.0"}
    for version in ("0.19.0", "0.20.0"):
        assert environment.installed(shelf.release(version)) == {"uvicorn": version}
    assert sorted(path.name for path in folder.iterdir()) == ["bases", "uvicorn"]


def test_another_interpreter_gets_bases_of_its_own() -> None:
    same = Interpreter(f"{sys.executable}-by-another-name", HERE.version)
    later = Interpreter(HERE.path, "3.99.0")
    assert len({Setting(pins(), python).folder for python in (HERE, same, later)}) == 3


def test_every_name_of_a_version_is_as_good_as_the_other() -> None:
    assert shelf.release("v0.20.0") == shelf.release("0.20") == shelf.release("0.20.0")
    for name in ("", "..", "base", "latest", "0.20.0/.."):
        with pytest.raises(ValueError, match="is no version"):
            shelf.release(name)


def test_0_12_0_is_the_first_release_whose_requirements_admit_the_pinned_websockets() -> None:
    releases = listing("uvicorn").releases
    earlier = [r.version for r in releases if r.wheel and Version(r.version) < Version("0.12.0")]
    assert "0.11.8" in earlier
    assert all("websockets==8.*" in unfit(version) for version in earlier)
    # With all of the pins it is 0.12.1 that can be judged: 0.12.0 wants an older h11.
    assert unfit("0.12.0") == "requires h11<0.11,>=0.8"
    assert unfit("0.12.1") == ""


@pytest.mark.parametrize("version", ["0.11.8", "0.12.0", "0.12.1", "0.20.0", "0.40.0"])
def test_what_fits_is_what_uv_would_install(version: str, tmp_path: Path) -> None:
    asked = [f"uvicorn=={version}", *PINNED.pins, *ALSO, "--only-binary", "uvicorn", "--target", str(tmp_path / "new")]
    resolved = run(find_uv_bin(), "pip", "install", "--dry-run", *asked)
    assert (resolved.returncode == 0) == (unfit(version) == ""), resolved.stderr


def test_what_requires_another_python_does_not_fit() -> None:
    with pytest.raises(Unfit, match=r"requires Python >=3\.8") as caught:
        shelf.fit(shelf.release("0.30.1"), having(PINNED), "3.7.17")
    assert caught.value.cause is Cause.OTHER_PYTHON


def test_a_release_without_a_wheel_is_refused_and_not_built(folder: Path) -> None:
    with pytest.raises(Unfit, match="no wheel on the index") as caught:
        shelf.release("0.3.0")
    assert caught.value.cause.lasting
    assert not folder.exists()


def test_a_release_that_is_not_there_is_refused_but_may_come() -> None:
    with pytest.raises(Unavailable, match=r"the index has no uvicorn 99\.0"):
        shelf.release("99.0")


OVERRIDE = 'override-dependencies = ["websockets==12.0"]\n'


@pytest.mark.parametrize("how", ["UV_OVERRIDE", "UV_CONSTRAINT", "PIP_TARGET", "pyproject.toml", "uv.toml"])
def test_settings_of_others_do_not_change_what_is_installed(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    if how.isupper():
        Path("settings").write_text("websockets==12.0\n")
        monkeypatch.setenv(how, str(tmp_path / "here" / "settings"))
    else:
        project = '[project]\nname = "other"\nversion = "1"\n[tool.uv]\n'
        Path(how).write_text(OVERRIDE if how == "uv.toml" else project + OVERRIDE)
    assert installed(shelf.base(PINNED)) == having(PINNED)


@pytest.mark.parametrize("where", ["named", "above"])
def test_a_uv_toml_that_changes_what_is_installed_is_never_taken_for_the_pins(
    where: str, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It says where the index is too, so it is read.
    file = tmp_path / ("uv.toml" if where == "above" else "other.toml")
    file.write_text(OVERRIDE)
    if where == "named":
        monkeypatch.setenv("UV_CONFIG_FILE", str(file))
    with pytest.raises(Unavailable, match=r"websockets 12\.0 was installed instead of 10\.4"):
        shelf.base(PINNED)
    assert list(folder.iterdir()) == []


def test_what_the_environment_variables_of_python_name_is_not_installed_nor_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "websockets.py").write_text("raise SystemExit(0)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "elsewhere"))
    assert installed(shelf.base(PINNED)) == having(PINNED)
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["websockets.py"]


def test_without_an_index_and_with_nothing_cached_it_says_so_and_leaves_nothing(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**NO_INDEX, "UV_CACHE_DIR": str(tmp_path / "cold")}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        shelf.base(PINNED)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        shelf.release("0.20.0")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("what", ["base", "release"])
def test_a_build_killed_in_the_middle_is_never_trusted_and_built_again(what: str, folder: Path) -> None:
    if what == "release":
        shelf.base(PINNED)
    command = [sys.executable, "-c", PROGRAM, str(folder), "0.20.0"]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL) as process:
        while not list(folder.glob("*.tmp/new" if what == "release" else "*.tmp/new/bin/python")):
            assert process.poll() is None
            time.sleep(0.0002)
        os.killpg(process.pid, signal.SIGKILL)
    assert list(folder.glob("*.tmp"))
    assert not (folder / "uvicorn").exists()
    assert installed(shelf.base(PINNED)) == having(PINNED)
    assert environment.installed(shelf.release("0.20.0")) == {"uvicorn": "0.20.0"}
    assert not list(folder.glob("*.tmp"))


def test_builds_at_once_give_one_of_each(folder: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(folder), "0.20.0"]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert printed == {f"{shelf.base(PINNED)}\n{shelf.release('0.20.0')}\n"}
    assert installed(shelf.base(PINNED)) == having(PINNED)
    assert sorted(path.name for path in folder.glob("*/*")) == sorted(["0.20.0", PINNED.folder.name])
    assert not list(folder.glob("*.tmp"))


def test_an_interpreter_that_is_not_there_is_said(tmp_path: Path) -> None:
    for request in ("3.99", str(tmp_path / "python"), "/bin/true"):
        with pytest.raises(Unavailable, match=r"no Python .* here: install it"):
            shelf.interpreter(request)
    found = shelf.interpreter(sys.executable)
    assert found.version == HERE.version
    assert Path(found.path).is_absolute()


def test_a_folder_that_cannot_be_written_is_a_reason_and_no_traceback(folder: Path) -> None:
    folder.write_text("a file where the folder would be\n")
    with pytest.raises(Unavailable, match="cannot write to"):
        shelf.base(PINNED)
    folder.unlink()
    folder.mkdir(0o555)
    if os.geteuid():  # no folder is read-only for root
        with pytest.raises(Unavailable, match=r"cannot write to .*: Permission denied"):
            shelf.base(PINNED)


@pytest.fixture
def wanted(tmp_path: Path) -> Path:
    (tmp_path / "requirements-x.txt").write_text("wsproto==1.2.0\n")
    return tmp_path / "requirements-x.txt"


def test_what_make_builds_is_built_once_and_again_where_the_pins_or_the_python_change(
    wanted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built = []

    def install(new: Path, requirements: list[str], *_: object) -> None:
        built.append(wanted.read_text().strip())
        packages = new / "lib" / "python3" / "site-packages"
        (packages / f"{wanted.read_text().strip().replace('==', '-')}.dist-info").mkdir(parents=True)

    monkeypatch.setattr(environment, "install", install)
    target = tmp_path / "environments" / "x"
    for text, version in (("1.2.0", "3"), ("1.2.0", "3"), ("1.1.0", "3"), ("1.1.0", "3"), ("1.1.0", "4")):
        wanted.write_text(f"wsproto=={text}\n")
        monkeypatch.setattr(sys, "version", version)
        assert environment.main(wanted, target) == 0
    assert built == ["wsproto==1.2.0", "wsproto==1.1.0", "wsproto==1.1.0"]
    assert "requirements-x.txt (once)" in capsys.readouterr().err
    assert [path.name for path in target.parent.iterdir()] == ["x"]


def test_what_make_builds_is_whole_or_absent(
    wanted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def install(new: Path, *_: object) -> None:
        (new / "lib" / "python3" / "site-packages" / "wsproto-1.1.0.dist-info").mkdir(parents=True)

    monkeypatch.setattr(environment, "install", install)
    assert environment.main(wanted, tmp_path / "environments" / "x") == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("Could not install requirements-x.txt, check the network and the index: ")
    assert "wsproto 1.1.0 was installed instead of 1.2.0" in said
    assert list((tmp_path / "environments").iterdir()) == []


@pytest.mark.weekly
def test_make_builds_with_pip_where_there_is_no_uv(wanted: Path, tmp_path: Path) -> None:
    new = tmp_path / "aside" / "new"
    new.parent.mkdir()
    environment.install(new, ["-r", str(wanted)], sys.executable, None)
    assert environment.installed(environment.packages(new))["wsproto"] == "1.2.0"


def test_the_harness_needs_python_3_10_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    assert environment.main(ROOT / "requirements-harness.txt", tmp_path / "x") == 1
    assert capsys.readouterr().err == "The harness needs Python 3.10 or later: try make PYTHON=python3.12\n"
