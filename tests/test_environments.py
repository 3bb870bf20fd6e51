"""Environments: one release of uvicorn, or none for a checkout, and the pins beside it."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from packaging.version import Version

from harness import environments
from harness.environments import UV, Interpreter, Unavailable, for_release, for_sources, read_pins
from harness.releases import listing

from .conftest import ROOT

HERE = Interpreter(sys.executable, ".".join(map(str, sys.version_info[:3])))
DEAD = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
PROGRAM = (
    "import sys; from pathlib import Path; from harness import environments as e;"
    " e.FOLDER = Path(sys.argv[1]); print(e.for_release(sys.argv[2], e.read_pins(), e.find_interpreter()))"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of environments that is empty."""
    monkeypatch.setattr(environments, "FOLDER", tmp_path / "environments")
    return tmp_path / "environments"


def installed(python: Path) -> dict[str, str]:
    """The distributions that an environment's own Python sees, and that their modules can be imported."""
    program = (
        "import importlib, importlib.metadata as m\n"
        "for d in m.distributions():\n"
        "    print(d.metadata['Name'], d.version); importlib.import_module(d.metadata['Name'].replace('-', '_'))"
    )
    printed = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=True).stdout
    return {line.split()[0]: line.split()[1] for line in printed.splitlines()}


def building(folder: Path) -> list[Path]:
    return list(folder.glob("releases/*/building-*"))


def test_an_environment_runs_its_uvicorn_and_the_pins_and_nothing_else(folder: Path) -> None:
    also = {"asgiref": "3.8.1", "typing_extensions": "4.13.2"}
    pins = {line.split("==")[0]: line.split("==")[1] for line in read_pins().requirements}
    assert "uvicorn" not in pins
    for version in ("0.19.0", "0.20.0"):
        assert installed(for_release(version, read_pins(), HERE)) == {"uvicorn": version, **pins, **also}
    assert installed(for_sources(read_pins(), HERE)) == {**pins, **also}
    other = for_release("0.20.0", read_pins(websockets="11.0.3", wsproto="1.1.0"), HERE)
    assert installed(other) == {"uvicorn": "0.20.0", **pins, "websockets": "11.0.3", "wsproto": "1.1.0", **also}
    assert building(folder) == []


def test_another_interpreter_gets_environments_of_its_own(folder: Path) -> None:
    same = Interpreter(str(Path(sys.executable).resolve()), HERE.version)
    assert for_release("0.20.0", read_pins(), HERE) != for_release("0.20.0", read_pins(), same)


def test_one_of_two_names_of_a_version_is_as_good_as_the_other() -> None:
    assert for_release("v0.20.0", read_pins(), HERE) == for_release("0.20.0", read_pins(), HERE)
    for name in ("", "..", "base", "latest"):
        with pytest.raises(Unavailable, match="is no version"):
            for_release(name, read_pins(), HERE)


def test_0_12_0_is_the_first_release_whose_requirements_admit_the_pinned_websockets(tmp_path: Path) -> None:
    releases = listing("uvicorn", ROOT / ".environments").releases
    earlier = [r.version for r in releases if r.wheel and Version(r.version) < Version("0.12.0")]
    assert "0.11.8" in earlier

    def resolve(version: str) -> "subprocess.CompletedProcess[str]":
        asked = [f"uvicorn=={version}", "websockets==10.4", "--only-binary", "uvicorn", "--target", str(tmp_path)]
        return subprocess.run([UV, "pip", "install", "--dry-run", *asked], capture_output=True, text=True)

    with ThreadPoolExecutor(4) as pool:
        for version, refused in zip(earlier, pool.map(resolve, earlier), strict=True):
            assert refused.returncode != 0, version
            words = " ".join(refused.stderr.split())
            assert f"uvicorn=={version} depends on websockets" in words, words
            assert "you require websockets==10.4" in words
    admitted = resolve("0.12.0")
    assert admitted.returncode == 0
    assert "websockets==10.4" in admitted.stderr
    # With all of the pins it is 0.12.1 that can be installed: 0.12.0 wants an older h11.
    for version in earlier[-1], "0.12.0":
        with pytest.raises(Unavailable) as caught:
            for_release(version, read_pins(), HERE)
        assert caught.value.lasting
    assert str(caught.value) == "uvicorn==0.12.0 depends on h11>=0.8,<0.11"
    assert installed(for_release("0.12.1", read_pins(), HERE))["uvicorn"] == "0.12.1"


def test_a_release_without_a_wheel_is_refused_and_not_built(folder: Path) -> None:
    with pytest.raises(Unavailable, match=r"uvicorn==0\.3\.0 has no usable wheels") as caught:
        for_release("0.3.0", read_pins(), HERE)
    assert caught.value.lasting
    assert building(folder) == []


def test_a_release_that_is_not_there_is_refused_but_may_come() -> None:
    with pytest.raises(Unavailable, match=r"uvicorn==99\.0") as caught:
        for_release("99.0", read_pins(), HERE)
    assert not caught.value.lasting


@pytest.mark.parametrize("how", ["UV_OVERRIDE", "pyproject.toml"])
def test_an_override_of_the_pins_is_never_taken_for_them(
    how: str, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if how == "UV_OVERRIDE":
        Path("overrides.txt").write_text("websockets==12.0\n")
        monkeypatch.setenv(how, "overrides.txt")
    else:
        project = '[project]\nname = "other"\nversion = "1"\n[tool.uv]\noverride-dependencies = ["websockets==12.0"]\n'
        Path(how).write_text(project)
    with pytest.raises(Unavailable, match=r"websockets 12\.0 instead of 10\.4") as caught:
        for_release("0.20.0", read_pins(), HERE)
    assert not caught.value.lasting
    assert [path for path in folder.glob("releases/*/*") if path.is_dir()] == []


def test_what_the_environment_variables_of_python_name_is_not_installed_nor_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere" / "uvicorn").mkdir(parents=True)
    (tmp_path / "elsewhere" / "uvicorn" / "__init__.py").write_text("__version__ = '0.20.0'\n")
    (tmp_path / "elsewhere" / "websockets.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "elsewhere"))
    assert installed(for_release("0.19.0", read_pins(), HERE))["uvicorn"] == "0.19.0"


def test_without_an_index_and_with_nothing_cached_it_says_so_and_may_come(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**DEAD, "UV_CACHE_DIR": str(tmp_path / "cold")}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9") as caught:
        for_release("0.20.0", read_pins(), HERE)
    assert not caught.value.lasting
    assert [path for path in folder.glob("releases/*/*") if path.is_dir()] == []


def test_a_half_built_environment_is_never_trusted(folder: Path) -> None:
    python = for_release("0.20.0", read_pins(), HERE)
    half = python.parent.parent.parent / "building-0.19.0"
    (python.parent.parent).rename(half)
    (half / "lib" / "python").mkdir(parents=True)
    assert installed(for_release("0.19.0", read_pins(), HERE))["uvicorn"] == "0.19.0"
    assert installed(for_release("0.20.0", read_pins(), HERE))["uvicorn"] == "0.20.0"


@pytest.mark.parametrize("late", [False, True])
def test_a_build_killed_in_the_middle_is_built_again(late: bool, folder: Path) -> None:
    if late:
        for_sources(read_pins(), HERE)
    command = [sys.executable, "-c", PROGRAM, str(folder), "0.20.0"]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL) as process:
        while not list(folder.glob("releases/*/building-*/bin/python")):
            assert process.poll() is None
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
    assert building(folder)
    assert not list(folder.glob("releases/*/0.20.0"))
    assert installed(for_release("0.20.0", read_pins(), HERE))["uvicorn"] == "0.20.0"


def test_builds_at_once_give_one_environment(folder: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(folder), "0.20.0"]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    printed = {process.communicate()[0].strip() for process in processes}
    assert {process.returncode for process in processes} == {0}
    assert len(printed) == 1
    assert installed(Path(printed.pop()))["uvicorn"] == "0.20.0"
    assert sorted(path.name for path in folder.glob("releases/*/*")) == ["0.20.0", "base"]


def test_an_interpreter_that_is_not_there_is_said(tmp_path: Path) -> None:
    for request in ("3.99", str(tmp_path / "python")):
        with pytest.raises(Unavailable, match=r"no Python .* here: install it"):
            environments.find_interpreter(request)
    assert environments.find_interpreter() == HERE
    found = environments.find_interpreter(sys.executable)
    assert found.version == HERE.version
    assert Path(found.path).is_absolute()


def test_a_folder_that_cannot_be_written_is_a_reason_and_no_traceback(folder: Path) -> None:
    folder.write_text("a file where the folder would be\n")
    with pytest.raises(Unavailable, match="cannot build base"):
        for_release("0.20.0", read_pins(), HERE)
