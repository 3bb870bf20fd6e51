"""Damage on the disk, a hostile index, low limits, signals, settings of others, closed pipes, several at once."""

import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base import Interpreter

from ..conftest import NOWHERE, RING_0, interruptible
from ..test_index import JSON, Serve, page, serve
from .conftest import ENDS, HARMFUL, Field, together

__all__ = ["serve"]
SEED = int(os.environ.get("SEED", "1778"))
OTHER = "3.12" if sys.version_info[:2] != (3, 12) else "3.11"
HOME = "FOLDER"  # stands for an empty folder
IMPL = "uvicorn/protocols/websockets/websockets_impl.py"


def flipped(file: Path) -> None:
    dice, content = random.Random(f"{SEED} {file.name}"), bytearray(file.read_bytes())
    for _ in range(3):
        content[dice.randrange(16, len(content))] ^= 1 << dice.randrange(8)
    file.write_bytes(content)


def each(pattern: str, change: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        files = [file for file in folder.glob(pattern) if file.is_file()]
        assert files
        for file in files:
            change(file)

    return damage


def linked(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.symlink_to("/nonexistent")


def steps(*changes: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: [change(folder) for change in changes]


def garbage(text: bytes) -> Callable[[Path], None]:
    return each("uvicorn-*.json", lambda file: file.write_bytes(text))


def written(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "release: a file deleted": each(IMPL, Path.unlink),
    "release: a file emptied": each(IMPL, lambda file: file.write_text("")),
    "release: a file changed": each(
        IMPL, lambda file: file.write_text(file.read_text().replace("in self.server_state.default_headers", "in []"))
    ),
    "release: another one": lambda folder: shutil.copytree(
        next(folder.parent.glob("0.19.0-*")) / "uvicorn", folder / "uvicorn", dirs_exist_ok=True
    ),
    "release: a file more": written("websockets.py", "raise SystemExit(0)"),
    "release: emptied": shutil.rmtree,
    "release: a link to nowhere": linked,
    "release: a seal of its own": lambda folder: (folder / ".seal").write_bytes(b"\xff"),
    "release: a folder for a seal": each(".seal", steps(Path.unlink, Path.mkdir)),
    "release: bytecode emptied": each("**/*.pyc", lambda file: file.write_bytes(b"")),
    "release: bytecode cut off": each("**/*.pyc", lambda file: file.write_bytes(file.read_bytes()[:100])),
    "release: bytecode of zeros": each("**/*.pyc", lambda file: file.write_bytes(b"\0" * 100)),
    "release: bytecode of garbage": each("**/*.pyc", lambda file: file.write_bytes(file.read_bytes()[:16] + b"\xff")),
    "release: a file for a cache": steps(
        lambda folder: shutil.rmtree(folder / "uvicorn/__pycache__"), written("uvicorn/__pycache__", "")
    ),
    "base: a file deleted": each("websockets/legacy/client.py", Path.unlink),
    "base: a file emptied": each("h11/_connection.py", lambda file: file.write_text("")),
    "base: a distribution gone": lambda folder: shutil.rmtree(next(folder.glob("wsproto-*.dist-info"))),
    "base: another uvicorn in it": lambda folder: (folder / "uvicorn.py").write_text("raise SystemExit(0)"),
    "base: a file that Python runs": written("evil.pth", "import os; os._exit(0)\n"),
    "base: a module that hides one of Python's": written("socket.py", "raise SystemExit(0)"),
    "base: bytecode cut off": each("websockets/**/*.pyc", lambda file: file.write_bytes(file.read_bytes()[:100])),
    "base: bytecode of garbage": each("h11/**/*.pyc", lambda file: file.write_bytes(file.read_bytes()[:16] + b"\xff")),
    "base: emptied": shutil.rmtree,
    "base: a file in its place": steps(shutil.rmtree, lambda folder: folder.write_text("")),
    **{
        f"listing: {text[:30]!r}": garbage(text)
        for text in (b"", b"\xff\xfe", b"[" * 200_000, b"null", b"0" * 10**7, b'{"until": 9e99, "releases": []}')
    },
    "listing: a folder": each("uvicorn-*.json", steps(Path.unlink, Path.mkdir)),
    "listing: from the future": each("uvicorn-*.json", lambda file: os.utime(file, (2**33, 2**33))),
    "clock: all of it in the future": each("**/*", lambda file: os.utime(file, (2**32, 2**32))),
    "clock: all of it from 1970": each("**/*", lambda file: os.utime(file, (0, 0))),
    "half of a build": steps(lambda folder: (folder / "building-x.tmp").mkdir(), written("bases/x", "")),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_heals(name: str, fault: Field) -> None:
    kind = name.partition(":")[0]
    where = {"release": fault.release("0.20.0"), "base": fault.base}.get(kind, fault.folder)
    DAMAGE[name](where)
    assert fault.heals()
    shutil.rmtree(fault.folder / "releases" / "moved", ignore_errors=True)
    (fault.folder / "bases" / "x").unlink(missing_ok=True)
    for listing in fault.folder.glob("uvicorn-*.json/"):
        listing.rmdir()


@pytest.mark.parametrize("name", ["**/*.pyc", "**/config.*.pyc", "**/websockets_impl.*.pyc"])
@pytest.mark.parametrize("turn", range(3))
def test_bits_that_flip_in_bytecode_make_no_other_verdict(name: str, turn: int, fault: Field) -> None:
    fault.tries("rejected", "UVICORN=0.20.0")  # which writes it
    files = sorted(fault.release("0.20.0").glob(name))
    flipped(random.Random(f"{SEED} {turn}").choice(files))
    fault.tries("rejected", "UVICORN=0.20.0")
    for cache in fault.release("0.20.0").rglob("__pycache__"):
        shutil.rmtree(cache)


def archive(folder: Path, **more: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        for path in [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]:
            if str(path.relative_to(folder)) not in more:
                opened.writestr(str(path.relative_to(folder)), path.read_bytes())
        for name, text in more.items():
            opened.writestr(name, text)
    return file.getvalue()


HOSTILE = ("403", "500", "404", "garbage", "no files", "another digest", "another version", "no wheel", "nobody")


@pytest.mark.parametrize("what", [*HOSTILE, "HTML", "a path", "a backport"])
def test_an_index_that_is_hostile_or_another(what: str, fault: Field, serve: Serve, tmp_path: Path) -> None:
    older, newer = fault.release("0.19.0"), fault.release("0.20.0")
    version = {"uvicorn/__init__.py": (newer / "uvicorn" / "__init__.py").read_text()}
    wheel = {
        "no wheel": b"no wheel",
        "another version": archive(older),
        "a backport": archive(older, **version),
        "a path": archive(newer, **{"../../evil.py": "", "/evil.py": ""}),
    }.get(what, archive(newer))
    answers = page("0.20.0", content=wheel)
    if what == "another digest":
        answers["/uvicorn-0.20.0-py3-none-any.whl"] = wheel + b"x"
    text = {"garbage": b"\xff{", "no files": b'{"meta": {"api-version": "1.0"}, "name": "uvicorn", "files": []}'}
    text["HTML"] = b'<a href="/uvicorn-0.20.0-py3-none-any.whl">uvicorn-0.20.0-py3-none-any.whl</a>'
    answers["/simple/uvicorn/"] = text.get(what, answers["/simple/uvicorn/"])
    url = serve(answers, kind="text/html" if what == "HTML" else JSON, status=int(what) if what.isdigit() else 200)
    url = NOWHERE if what == "nobody" else url.replace("://", "://user:hunter2@")
    out = tmp_path / "out.json"
    done = fault.verb("try", "UVICORN=0.20.0", f"JSON={out}", UV_DEFAULT_INDEX=url)
    word = fault.judged("open" if what == "a backport" else "rejected", done)
    assert word in {"a backport": ["open"], "HTML": ["rejected"]}.get(what, ["", "inconclusive", "rejected"]), done
    assert word != "rejected" or what in ("HTML", "a path"), done
    kept = [file for file in [*fault.folder.glob("*"), out] if file.is_file() and b"hunter2" in file.read_bytes()]
    assert ("hunter2" in done.stdout + done.stderr, kept) == (False, [])
    assert not [*fault.project.rglob("evil.py")][1:] and not Path("/evil.py").exists()
    assert fault.heals()


PIPES = [">/dev/full", ">&-", ">&- 2>&-", ">/dev/full 2>&1", "<&-", "<&- >&- 2>&-", "2>&-", "| true", "2>/dev/full"]


@pytest.mark.parametrize("pipe", PIPES)
def test_where_nobody_can_read_there_is_no_verdict(pipe: str, fault: Field) -> None:
    readable = not re.search(r"[^2]?>(&-|/dev/full)( 2.*)?$", pipe) or pipe.startswith("2")
    for words in ("try UVICORN=0.20.0", "bisect GOOD=0.19.0 BAD=0.20.0", "try UVICORN=0.19.0"):
        command = f"{sys.executable} harness {words} {pipe}"
        done = fault.run("bash", "-o", "pipefail", "-c", command)
        wanted = {"try UVICORN=0.20.0": 1, "bisect GOOD=0.19.0 BAD=0.20.0": 0, "try UVICORN=0.19.0": 0}[words]
        right = done.returncode in ((wanted, 141, 125) if pipe == "| true" else (wanted,) if readable else (125,))
        fault.counts.wrong += not right
        assert right, (command, done)


LIMITS = ["-v 20000", "-v 100000", "-v 300000", "-n 6", "-n 8", "-n 16", "-n 32", "-s 64", "-f 0", "-f 8", "-t 0"]


@pytest.mark.parametrize("limit", [*LIMITS, "-u 1", "-u 3", "-l 0"])
def test_with_too_little_nothing_is_judged_and_nothing_is_lost(limit: str, fault: Field) -> None:
    before = fault.base.stat().st_ino
    user = "setpriv --reuid=54321 --clear-groups " if limit.startswith("-u") else ""  # root has no such limit
    for words in ("UVICORN=0.20.0", "UVICORN=0.20.0 RUN=false"):
        done = fault.run("bash", "-c", f"ulimit {limit}; exec {user}{sys.executable} harness try {words}")
        if "Fatal Python error" not in done.stderr:  # then no line of ours was reached
            fault.counts.wrong += done.returncode == 0 or "verdict: open" in done.stdout
            assert done.returncode and "verdict: open" not in done.stdout, done
            if done.returncode == 1:
                assert "verdict: rejected" in done.stdout, done
    assert fault.base.stat().st_ino == before
    assert fault.heals()


SETTINGS: list[dict[str, str]] = [
    {"PYTHONPATH": "FOREIGN", "PYTHONHOME": ""},
    {"PYTHONSAFEPATH": "1", "PYTHONOPTIMIZE": "2", "PYTHONHASHSEED": "0", "TERM": "dumb"},
    {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1"},
    {"PYTHONPYCACHEPREFIX": HOME, "PYTHONUNBUFFERED": "1"},
    {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"},
    {"PIP_TARGET": HOME, "PIP_PREFIX": HOME, "PIP_ROOT": HOME, "PIP_USER": "1"},
    {"PIP_DRY_RUN": "1", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_NO_DEPS": "1"},
    {"UV_OVERRIDE": "/nonexistent", "UV_CONSTRAINT": "/nonexistent", "UV_PYTHON": "2.7", "UV_NO_BINARY": "1"},
    {"UV_LINK_MODE": "symlink", "UV_TARGET": HOME, "UV_SYSTEM_PYTHON": "1", "UV_EXCLUDE_NEWER": "2015-01-01"},
    {"UV_OFFLINE": "1"},
    {"UV_CACHE_DIR": HOME},
    {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "all_proxy": NOWHERE},
    {"HTTP_PROXY": "nonsense", "NO_PROXY": "*", "ALL_PROXY": "socks9://x"},
    {"UVICORN_WS": "none", "UVICORN_HEADERS": "x:y", "WEB_CONCURRENCY": "4", "FORWARDED_ALLOW_IPS": "*"},
    {"TMPDIR": "/nonexistent", "HOME": "/nonexistent", "XDG_CACHE_HOME": "/dev/null"},
    {"VIRTUAL_ENV": "/nonexistent", "CONDA_PREFIX": "/nonexistent", "PYENV_VERSION": "2.7"},
    {"PATH": ""},
    {"SSL_CERT_FILE": "/dev/null", "PIP_CERT": "/nonexistent"},
    {"PIP_CONFIG_FILE": "/dev/zero.conf", "UV_CONFIG_FILE": "/nonexistent"},
    {"WEBSOCKETS_MAX_LOG_SIZE": "1", "WEBSOCKETS_BACKOFF_MIN_DELAY": "x", "TZ": "Nowhere/At_All"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda value: next(iter(value)))
def test_settings_of_others_change_no_verdict(settings: dict[str, str], fault: Field, tmp_path: Path) -> None:
    kept = {HOME: str(tmp_path), "FOREIGN": str(fault.release("0.19.0"))}
    settings = {name: kept.get(value, value) for name, value in settings.items() if value or name == "PATH"}
    shutil.rmtree(fault.base)
    fault.tries("rejected", "UVICORN=0.20.0", **settings)
    fault.bisects(**settings)
    fault.tries("open", "UVICORN=0.19.0", "CASE=server-headers", **settings)
    assert fault.heals()


WORDS = [
    ["try", "INTERPRETER=-h"],
    ["try", "INTERPRETER=3.11\nverdict: open"],
    ["try", "WEBSOCKETS=../../../x"],
    ["try", "UVICORN=../0.20.0"],
    ["try", "UVICORN=\x1b[2J"],
    ["try", "SOURCE=/nonexistent"],
    ["try", "JSON=/nonexistent/x/y"],
    ["bisect-commits", "REPO=~nosuch/x"],
    ["bisect-commits", "REPO=--upload-pack=touch x"],
    ["bisect-commits", "REPO=ext::touch x"],
    ["bisect", "GOOD=`touch x`"],
    ["bisect", "GOOD=0.20.0", "BAD=9999"],
    ["report", "OUTPUT=/nonexistent/x/y"],
    ["compare", "/nonexistent"],
    [],
]


@pytest.mark.parametrize("words", WORDS, ids=lambda value: " ".join(value)[:40])
def test_what_cannot_be_meant_is_no_verdict(words: list[str], fault: Field) -> None:
    before = sorted(path.name for path in fault.project.iterdir())
    done = fault.verb(*words)
    fault.counts.wrong += done.returncode in (0, 1)
    assert done.returncode in (2, 125), done
    assert not HARMFUL.search(done.stdout + done.stderr)
    assert sorted(path.name for path in fault.project.iterdir()) == before


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
@pytest.mark.parametrize("when", ["judging", "building"])
def test_a_signal_at_any_moment_leaves_nothing(name: str, when: str, fault: Field) -> None:
    """The moments come from SEED (an environment variable; the default is fixed)."""
    moments = random.Random(f"{SEED} {name} {when}")
    commands = [["try", "UVICORN=0.20.0"], ["bisect", *ENDS], ["try", "UVICORN=0.20.0", "RUN=sleep 60 & sleep 60"]]
    for turn in range(12):
        if when == "building":
            shutil.rmtree(fault.folder / ("bases", "releases")[turn % 2], ignore_errors=True)
        process = subprocess.Popen(
            [sys.executable, "harness", *commands[turn % len(commands)]],
            cwd=fault.project,
            stdout=-3,
            stderr=-1,
            text=True,
            preexec_fn=interruptible,
            env={**os.environ, "STARTED_BY_FAULTS": fault.mark},
        )
        time.sleep(moments.uniform(0.1, 0.7))
        process.send_signal(getattr(signal, name))
        said = process.communicate(timeout=30)[1]
        fault.counts.runs += 1
        fault.counts.tracebacks += "Traceback" in said
        assert "Traceback" not in said and len(said.splitlines()) <= 1, said
        fault.counts.wrong += process.returncode in (0, 1) and process.returncode != (1, 0, None)[turn % 3]
        assert process.returncode not in (0, 1) or process.returncode == (1, 0, None)[turn % 3]
        assert name == "SIGKILL" or not fault.scratch(), fault.scratch()
    assert fault.heals()


@pytest.mark.parametrize("how", ["size=1m", "size=200k", "ro", "a file"])
@pytest.mark.parametrize("built", ["nothing built", "all built"])
def test_a_disk_that_is_full_or_cannot_be_written(how: str, built: str, fault: Field, tmp_path: Path) -> None:
    away = fault.folder.rename(fault.project / "away")
    try:
        if how == "a file":
            fault.folder.write_text("")
        else:
            fault.folder.mkdir()
            size = "30m" if built == "all built" else how.partition("ro")[0] or "30m"
            mounted = ["mount", "-t", "tmpfs", "-o", size if "=" in size else f"size={size}", "x", str(fault.folder)]
            if os.geteuid() or subprocess.run(mounted, capture_output=True).returncode:
                pytest.skip("a file system can be mounted by root alone")
            if built == "all built":
                shutil.copytree(away, fault.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("runs"))
                if how != "ro":
                    with (fault.folder / "fill").open("wb") as file, pytest.raises(OSError):
                        file.write(bytes(40 << 20))
                        file.flush()
            if how == "ro":
                subprocess.run(["mount", "-o", "remount,ro", fault.folder], check=True)
        fault.tries("rejected", "UVICORN=0.20.0")
        fault.tries("rejected", "UVICORN=0.20.0", "RUN=echo full; exit 1")
        fault.tries("rejected", "UVICORN=0.20.0", f"JSON={fault.folder}/x.json")
        fault.bisects()
    finally:
        subprocess.run(["umount", "-l", fault.folder], capture_output=True)
        fault.folder.unlink() if fault.folder.is_file() else fault.folder.rmdir() if fault.folder.is_dir() else None
        away.rename(fault.folder)
    assert fault.heals()


@pytest.mark.parametrize("file", ["/dev/full", "/nonexistent/x", "/proc/x", "FOLDER"])
def test_a_result_that_cannot_be_written_is_no_verdict(file: str, fault: Field, tmp_path: Path) -> None:
    done = fault.verb("try", "UVICORN=0.20.0", f"JSON={tmp_path if file == 'FOLDER' else file}")
    assert done.returncode == 125 and "rejected" not in done.stdout.splitlines()[-1], done
    assert fault.heals()


def test_a_user_without_rights_or_name(fault: Field) -> None:
    for words in (["UVICORN=0.20.0"], ["UVICORN=0.20.0", "RUN=exit 1"]):
        command = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "env", "-u", "HOME", sys.executable]
        done = fault.run(*command, "harness", "try", *words)
        if done.returncode in (126, 127):
            pytest.skip("only root can become somebody else, who must be able to run this Python")
        fault.judged("rejected", done)


@pytest.mark.parametrize("what", ["moved", "no Python", "another Python", "a package gone", "half built"])
def test_an_environment_that_no_longer_fits(what: str, fault: Field, tmp_path: Path) -> None:
    """Built anew, or a line that says how; never the status of a verdict."""
    project = tmp_path / "project"
    for name in (*RING_0, "harness", "cases"):
        copy = shutil.copytree if (fault.project / name).is_dir() else shutil.copy
        project.mkdir(exist_ok=True)
        copy(fault.project / name, project / name)
    for command in (["make", "-s", "broken"], ["make", "-s", "try", "UVICORN=0.20.0"]):
        assert fault.run(*command, cwd=project).returncode == 0
    python = project / ".environments" / "harness" / "bin" / "python"
    status = [str(python), str(project / "harness"), "try", "UVICORN=0.19.0", "SOURCE=."]
    for name in ("harness", "broken"):
        inner = project / ".environments" / name
        if "Python" in what:
            (inner / "bin" / "python").unlink()
            other = Path("/nonexistent") if what == "no Python" else Path(Interpreter.named(OTHER).path)
            (inner / "bin" / "python").symlink_to(other)
            (inner / "pyvenv.cfg").write_text(f"home = {other.parent}\n")
        elif what == "a package gone":
            for gone in ("websockets", "packaging"):
                shutil.rmtree(next(inner.glob("lib/*/site-packages")) / gone, ignore_errors=True)
        elif what == "half built":
            (inner / "ready").unlink()
    if what == "moved":
        project = project.rename(tmp_path / "moved")
        status = [word.replace("/project/", "/moved/") for word in status]
    try:
        done = fault.run(*status, cwd=project)
        assert done.returncode not in (0, 1), done
    except OSError:
        pass  # git bisect run stops there
    for target, words in (("broken", []), ("try", ["UVICORN=0.20.0"])):
        done = fault.run("make", target, *words, cwd=project)
        advice = "make clean" in done.stdout + done.stderr
        assert (done.returncode == 0 and "verdict: rejected" in done.stdout) or (done.returncode and advice), done


def test_six_makes_and_eight_verbs_at_once_in_an_odd_time(fault: Field) -> None:
    for name in ("requirements-broken.txt", "requirements-fixed.txt"):
        os.utime(fault.project / name, (2**32 - 9, 2**32 - 9))
    done = together([lambda: fault.run("make", "-s", "broken")] * 6)
    assert {(one.returncode, one.stdout.splitlines()[-1][:17]) for one in done} == {(0, "verdict: rejected")}
    shutil.rmtree(fault.folder / "bases")
    shutil.rmtree(fault.folder / "releases")
    assert all(together([fault.heals] * 8))


@pytest.mark.parametrize("pair", [("base: a file emptied", ">/dev/full"), ("release: emptied", "2>&-")], ids=str)
def test_two_at_once(pair: tuple[str, str], fault: Field) -> None:
    """Damage, a closed pipe, another's settings, and one that is killed meanwhile."""
    DAMAGE[pair[0]](fault.base if pair[0].startswith("base") else fault.release("0.20.0"))
    command = (
        f"timeout -s KILL 0.4 {sys.executable} harness bisect & {sys.executable} harness try UVICORN=0.19.0 {pair[1]}"
    )
    done = fault.run("bash", "-c", command, PYTHONPATH=str(fault.release("0.19.0")), UV_OVERRIDE="/nonexistent")
    fault.counts.wrong += done.returncode == 1
    assert done.returncode in ((125,) if "full" in pair[1] else (0, 125)), done
    assert fault.heals()


def test_makes_variables_reach_no_shell(fault: Field) -> None:
    ready = ["-o", ".environments/harness/ready", "-o", ".environments/tests/ready"]
    (fault.folder / "harness" / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/echo", fault.folder / "harness" / "bin" / "python")
    for value in ("`touch x`", "$(touch x)", "'; touch x; '", '"; touch x; "', "a\ntouch x"):
        fault.run("make", *ready, "bisect", f"GOOD={value}")
        assert not (fault.project / "x").exists(), value
    shutil.rmtree(fault.folder / "harness")
