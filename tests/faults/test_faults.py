"""Faults as they happen: a uvicorn that misbehaves, damage, a full disk, signals, hostile text and settings."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..conftest import interruptible
from .conftest import Field, plain_text

SEED = int(os.environ.get("SEED", "1778"))
ANSWER = '{"trial": {"uvicorn": "0.20.0", "verdict": "open", "cause": null, "reason": ""}, "seen": {}}'
MISBEHAVING = {
    "exits 0": "import os; os._exit(0)",
    "exits 1": "import os; os._exit(1)",
    "raises BaseException": "raise BaseException('on purpose')",
    "raises KeyboardInterrupt": "raise KeyboardInterrupt",
    "raises SystemExit": "raise SystemExit(0)",
    "closes stdout": "import os; os.close(1); os._exit(0)",
    "closes everything": "import os; os.closerange(0, 256)",
    "replaces stdout": "import sys; sys.stdout = None; raise ImportError",
    "exits by atexit": "import atexit, os; atexit.register(os._exit, 0); raise ImportError",
    "forks": "import os; os.fork(); raise ImportError",
    "forks away": """
import os, time
if not os.fork():
    os.setsid()
    if not os.fork():
        time.sleep(60)
    os._exit(0)
raise ImportError""",
    "is killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "crashes": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "prints a verdict": "print('verdict: open', flush=True); raise ImportError",
    "prints JSON": f"print({ANSWER!r}, flush=True); import os; os._exit(0)",
    "writes JSON to every file": f"""
import os
for number in range(1, 64):
    try:
        os.write(number, {ANSWER!r}.encode() + b"\\n")
    except OSError:
        pass
os._exit(0)""",
    "prints a megabyte": "print('x' * 10**6, flush=True); raise ImportError",
    "has a junk version": "__version__ = 'verdict: open\\n'",
    "has a number for a version": "__version__ = 5",
    "hangs": "import time; time.sleep(60)",
    "is no Python": "this is no Python",
    "hides in text": "raise ImportError('\\x1b[2J\\u202eopen\\nverdict: open')",
}
QUICK = ("exits 0", "prints a verdict", "writes JSON to every file", "forks away", "hangs", "hides in text")


def git(folder: Path, *arguments: str, **variables: str) -> str:
    who = {f"GIT_{role}_{what}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "-c", "init.defaultBranch=main", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, env={**os.environ, **who, **variables}
    )
    return done.stdout.strip()


def put(fault: Field, folder: Path, version: str) -> None:
    shutil.rmtree(folder / "uvicorn", ignore_errors=True)
    fault.harness("try", "--uvicorn", version)
    shutil.copytree(fault.folder / "uvicorn" / version / "uvicorn", folder / "uvicorn")


def last(done: "subprocess.CompletedProcess[str]") -> str:
    return (done.stdout.splitlines() or [""])[-1]


@pytest.mark.parametrize(
    "how", [pytest.param(how, marks=[] if how in QUICK else [pytest.mark.fault]) for how in MISBEHAVING]
)
def test_a_uvicorn_that_misbehaves_is_inconclusive(how: str, fault: Field, tmp_path: Path) -> None:
    (tmp_path / "uvicorn").mkdir()
    (tmp_path / "uvicorn" / "__init__.py").write_text(MISBEHAVING[how])
    by_hand = next((fault.folder / "bases").iterdir()) / "bin" / "python"
    for done in (
        fault.harness("try", "--source", tmp_path),
        fault.run(by_hand, "-I", fault.project / "harness" / "trial.py", "--source", tmp_path, "--quiet"),
    ):
        assert done.returncode == 125
        assert last(done).startswith("verdict: inconclusive - ")
        assert sum(line.startswith("verdict: ") for line in done.stdout.splitlines()) == 1
        assert plain_text(done.stdout)


@pytest.mark.fault
@pytest.mark.parametrize("how", MISBEHAVING)
def test_a_search_goes_on_past_a_commit_that_misbehaves(how: str, fault: Field, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    put(fault, tmp_path, "0.18.3")
    shas = {}
    for name in ("0.18.3", "broken", "0.19.0", "0.20.0", "0.21.0"):
        if name == "broken":
            (tmp_path / "uvicorn" / "__init__.py").write_text(MISBEHAVING[how])
        else:
            put(fault, tmp_path, name)
        git(tmp_path, "add", "--all")
        git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", f"{'f' * 40} is the first bad commit")
        git(tmp_path, "tag", name)
        shas[name] = git(tmp_path, "rev-parse", "HEAD")
    done = fault.harness("bisect-commits", "--repo", tmp_path, "--good", "0.18.3", "--bad", "0.21.0")
    assert done.returncode == 0, done.stderr
    assert f"first bad commit: {shas['0.20.0']}\n" in done.stdout


@pytest.mark.parametrize(
    "damage",
    [
        "deleted",
        pytest.param("emptied", marks=pytest.mark.fault),
        "changed",
        pytest.param("another", marks=pytest.mark.fault),
    ],
)
def test_a_damaged_release_is_never_judged_as_it_is(damage: str, fault: Field) -> None:
    folder = fault.folder / "uvicorn" / "0.20.0"
    file = folder / "uvicorn" / "protocols" / "websockets" / "websockets_impl.py"
    if damage == "deleted":
        file.unlink()
    elif damage == "emptied":
        file.write_text("")
    elif damage == "changed":
        file.write_text(file.read_text().replace("in server_state.default_headers", "in []"))
    else:
        shutil.rmtree(folder)
        shutil.copytree(fault.folder / "uvicorn" / "0.19.0", folder)
    done = fault.harness("try", "--uvicorn", "0.20.0")
    assert (done.returncode, last(done)[:17]) == (1, "verdict: rejected")
    again = fault.harness("bisect", "--good", "0.19.0", "--bad", "0.20.0", "--fresh")
    assert "last good: 0.19.0 (2022-10-19)\nfirst bad: 0.20.0" in again.stdout


@pytest.mark.fault
@pytest.mark.parametrize("damage", ["deleted", "emptied", "bytecode", "interpreter", "distribution"])
def test_a_damaged_base_is_built_again(damage: str, fault: Field) -> None:
    base = next((fault.folder / "bases").iterdir())
    packages = next(base.glob("lib/python*/site-packages"))
    if damage == "deleted":
        (packages / "websockets" / "legacy" / "client.py").unlink()
    elif damage == "emptied":
        (packages / "h11" / "_connection.py").write_text("")
    elif damage == "bytecode":
        for file in packages.glob("websockets/legacy/__pycache__/client.*.pyc"):
            file.write_bytes(file.read_bytes()[:100])
    elif damage == "interpreter":
        (base / "bin" / "python").unlink()
        (base / "bin" / "python").symlink_to("/bin/true")
    else:
        shutil.rmtree(next(packages.glob("wsproto-*.dist-info")))
    done = fault.harness("bisect", "--good", "0.19.0", "--bad", "0.20.0", "--fresh")
    assert "last good: 0.19.0 (2022-10-19)\nfirst bad: 0.20.0" in done.stdout, done.stdout + done.stderr


def test_a_verdict_that_nobody_can_read_is_none(fault: Field) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    command = f"{sys.executable} -m harness try --uvicorn 0.19.0"
    for redirected in (">/dev/full", ">&- 2>&-", ">/dev/full 2>&1"):
        assert fault.run("sh", "-c", f"{command} {redirected}").returncode == 125
    for redirected in (">/dev/full", ">&- 2>&-"):
        assert fault.run("sh", "-c", f"{sys.executable} client.py ws://127.0.0.1:9 {redirected}").returncode == 125


@pytest.mark.fault
def test_with_too_little_memory_or_files_nothing_is_judged(fault: Field) -> None:
    for limit in ("ulimit -v 20000", "ulimit -n 4"):
        for command in ("-m harness try --uvicorn 0.20.0", "client.py ws://127.0.0.1:9"):
            done = fault.run("bash", "-c", f"{limit}; exec {sys.executable} {command}")
            fatal = "Fatal Python error" in done.stderr  # then no line of ours was reached
            assert done.returncode in (2, 125) or fatal, (limit, command, done.stderr)


@pytest.mark.parametrize(
    "settings",
    [
        {"PYTHONPATH": "/nonexistent", "PIP_TARGET": "/nonexistent/x", "PIP_PREFIX": "/nonexistent/x"},
        pytest.param(
            {"PIP_DRY_RUN": "1", "PIP_ROOT": "/nonexistent", "PIP_REQUIRE_VIRTUALENV": "1"}, marks=pytest.mark.fault
        ),
        pytest.param(
            {"UV_OVERRIDE": "/nonexistent", "UV_PYTHON": "2.7", "UV_NO_BINARY": "1", "UV_LINK_MODE": "symlink"},
            marks=pytest.mark.fault,
        ),
        {"PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONOPTIMIZE": "2", "TERM": "dumb"},
    ],
    ids=lambda value: next(iter(value)),
)
def test_settings_of_others_never_make_half_an_environment(settings: dict[str, str], fault: Field) -> None:
    shutil.rmtree(fault.folder / "bases")
    settings = {**settings, "PYTHONPATH": f"{settings.get('PYTHONPATH', '')}:{fault.project}"}
    done = fault.harness("try", "--uvicorn", "0.20.0", cwd=None, **settings)
    assert last(done).startswith("verdict: rejected - InvalidHandshake"), done.stdout + done.stderr
    assert "websockets 10.4, wsproto 1.2.0, loguru 0.6.0, h11 0.16.0, click 7.1.2" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["try", "--python=-h"],
        ["try", "--python=3.11\nverdict: open"],
        ["try", "--websockets", "../../../x"],
        ["try", "--uvicorn", "../0.20.0"],
        ["bisect-commits", "--repo", "~nosuch/x"],
        ["bisect-commits", "--repo", "--upload-pack=touch x"],
        ["report", "--output", "/nonexistent/x/y"],
        ["bisect", "--good", "`touch x`"],
        ["compare", "/nonexistent", "/dev/null"],
    ],
    ids=lambda value: " ".join(value).replace("\n", " "),
)
def test_what_no_command_understands_is_one_line(arguments: list[str], fault: Field) -> None:
    before = sorted(path.name for path in fault.project.iterdir())
    done = fault.harness(*arguments)
    assert done.returncode in (2, 125)
    assert len((done.stderr + done.stdout).splitlines()) == 1
    assert plain_text(done.stderr + done.stdout)
    assert sorted(path.name for path in fault.project.iterdir()) == before


def test_makes_variables_reach_no_shell(fault: Field) -> None:
    for value in ("`touch x`", "$(touch x)", "'; touch x; '", '"; touch x; "'):
        fault.run("make", "-n", "bisect", f"GOOD={value}", "--assume-old=.environments/harness/ready")
        done = fault.run(
            "make",
            "bisect",
            f"GOOD={value}",
            f"HARNESS={sys.executable} -m harness",
            "-o",
            ".environments/harness/ready",
        )
        assert done.returncode == 2
        assert not (fault.project / "x").exists()


@pytest.mark.fault
@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"key": 1, "trial": []}',
        b'{"key": "k", "trial": {"uvicorn": 5}}',
        b"null",
        b"0" * 30_000_000,
    ],
)
def test_garbage_where_something_was_kept_is_passed_over(garbage: bytes, fault: Field) -> None:
    for name in ("verdicts.jsonl", "bisects.json", "releases-uvicorn.json"):
        kept = fault.folder / name
        before = kept.read_bytes() if kept.exists() else b""
        kept.write_bytes(garbage)
        done = fault.harness("bisect", "--good", "0.19.0", "--bad", "0.20.0")
        assert "last good: 0.19.0 (2022-10-19)\nfirst bad: 0.20.0" in done.stdout, done.stderr
        if name == "releases-uvicorn.json":
            kept.write_bytes(before)


@contextmanager
def slow_server(drip: bytes) -> Iterator[int]:
    """A server on 127.0.0.1 that takes connections and sends a byte now and then, or nothing, for ever."""
    stop = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                connection.sendall(drip)
                while drip and not stop.wait(0.2):
                    connection.sendall(b" ")
                stop.wait()
            except OSError:
                pass

    def accept(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=[listener], daemon=True).start()
        yield listener.getsockname()[1]
        stop.set()


@pytest.mark.fault
def test_an_index_or_a_repository_that_says_nothing_ends(fault: Field, tmp_path: Path) -> None:
    text = (fault.project / "harness" / "index.py").read_text()
    (fault.project / "harness" / "index.py").write_text(text.replace("LIMIT = 30.0", "LIMIT = 3.0"))
    away = fault.folder / "releases-uvicorn.json"
    kept = away.read_bytes()
    away.unlink()
    try:
        for drip in (b"", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"):
            with slow_server(drip) as port:
                done = fault.harness("bisect", UV_DEFAULT_INDEX=f"http://127.0.0.1:{port}/simple")
                assert done.returncode == 2
                assert done.stderr.startswith("harness bisect: the package index cannot be reached")
        away.write_bytes(kept)
        with slow_server(b"") as port:
            done = fault.harness("bisect-commits", "--repo", f"git://127.0.0.1:{port}/x", cwd=fault.project)
            assert done.returncode == 2
            assert "did not end within 20 s" in done.stderr
    finally:
        away.write_bytes(kept)
        (fault.project / "harness" / "index.py").write_text(text)


@pytest.mark.fault
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_signal_at_any_moment_leaves_nothing(name: str, fault: Field, tmp_path: Path) -> None:
    """The moments come from SEED (an environment variable; the default is fixed)."""
    moments, number = random.Random(f"{SEED} {name}"), getattr(signal, name)
    print(f"SEED={SEED}")
    git(tmp_path, "init", "--quiet")
    for version in ("0.19.0", "0.20.0"):
        put(fault, tmp_path, version)
        git(tmp_path, "add", "--all")
        git(tmp_path, "commit", "--quiet", "--message", version)
        git(tmp_path, "tag", version)
    commands = [
        ["try", "--uvicorn", "0.20.0"],
        ["bisect", "--good", "0.18.3", "--bad", "0.21.0", "--fresh"],
        ["bisect-commits", "--repo", str(tmp_path)],
    ]
    environment = {**os.environ, "PYTHONPATH": str(fault.project)}
    for turn in range(24):
        command = [sys.executable, "-m", "harness", *commands[turn % len(commands)]]
        if turn % 6 == 5:
            shutil.rmtree(fault.folder / "bases", ignore_errors=True)
        process = subprocess.Popen(
            command,
            cwd=fault.project,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            preexec_fn=interruptible,
        )
        time.sleep(moments.uniform(0.12, 0.9))
        process.send_signal(number)
        said = process.communicate(timeout=30)[1]
        fault.counts.runs += 1
        fault.counts.tracebacks += "Traceback" in said
        assert "Traceback" not in said
        assert len(said.splitlines()) <= 1
    assert fault.left(str(fault.project)) == []
    assert fault.harness("bisect", "--good", "0.19.0", "--bad", "0.20.0", "--fresh").returncode == 0
    assert fault.scratch() == []


@pytest.mark.fault
def test_a_full_disk_says_so_and_keeps_no_verdict(fault: Field, tmp_path: Path) -> None:
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path], capture_output=True).returncode
    ):
        pytest.skip("a file system can be mounted by root alone")
    away = fault.folder.rename(fault.project / "away")
    try:
        fault.folder.symlink_to(tmp_path)
        for command in (["try", "--uvicorn", "0.20.0"], ["bisect", "--good", "0.19.0", "--bad", "0.20.0"]):
            done = fault.harness(*command)
            assert done.returncode in (2, 125)
            assert "No space left on device" in done.stdout + done.stderr
    finally:
        fault.folder.unlink()
        away.rename(fault.folder)
        subprocess.run(["umount", "-l", tmp_path], check=True)


@pytest.mark.fault
def test_a_user_without_rights_or_name_gets_one_line(fault: Field) -> None:
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("only root can become somebody else")
    for variables in ({"HOME": "/nonexistent"}, {}):
        prefix = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
        prefix += ["env", *([] if variables else ["-u", "HOME"])]
        prefix += [f"{name}={value}" for name, value in variables.items()]
        done = fault.run(*prefix, sys.executable, "-m", "harness", "try", "--uvicorn", "0.20.0")
        if done.returncode == 126:
            pytest.skip("that user may not run this Python")
        assert done.returncode in (2, 125)
        assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.fault
def test_dates_in_the_future_and_six_makes_at_once(fault: Field) -> None:
    future = time.time() + 10**6
    for name in ("requirements-broken.txt", "requirements-fixed.txt"):
        os.utime(fault.project / name, (future, future))
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: fault.run("make", "-s", "broken"), range(6)))
    assert [last(one)[:17] for one in done] == ["verdict: rejected"] * 6
    assert {one.returncode for one in done} == {0}


@pytest.mark.fault
def test_three_hundred_in_a_row_and_eight_at_once_agree(fault: Field) -> None:
    for name in ("broken", "fixed"):
        assert fault.run("make", "-s", name).returncode == 0
    trial = fault.project / "harness" / "trial.py"
    expected = {"broken": "rejected", "fixed": "open"}

    def judge(number: int) -> tuple[str, str]:
        name = ("broken", "fixed")[number % 2]
        done = fault.run(fault.folder / name / "bin" / "python", "-I", trial, "--quiet")
        return name, last(done).split()[1]

    with ThreadPoolExecutor(2) as pool:
        assert all(expected[name] == word for name, word in pool.map(judge, range(300)))
    commands = [["try", "--uvicorn", "0.20.0"], ["bisect", "--good", "0.18.3", "--bad", "0.21.0", "--fresh"]] * 4
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda command: fault.harness(*command), commands))
    assert [one.returncode for one in done] == [1, 0] * 4


def test_text_of_others_is_harmless_in_a_history(fault: Field, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    for version in ("0.19.0", "0.20.0"):
        put(fault, tmp_path, version)
        git(tmp_path, "add", "--all")
        subject = "\x1b[2J\u202e\x9b31m`touch x` <b> @everyone"
        git(tmp_path, "commit", "--quiet", "--message", subject, GIT_AUTHOR_NAME="\x1b]0;x\x07A")
        git(tmp_path, "tag", version)
    template = tmp_path / "template" / "hooks"
    template.mkdir(parents=True)
    hook = template / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    hook.chmod(0o755)
    (tmp_path / "config").write_text(
        f"[log]\nshowSignature = true\n[init]\ntemplateDir = {tmp_path}/template\n"
        f"[core]\nhooksPath = {template}\n[transfer]\nfsckObjects = true\n"
    )
    variables = {"GIT_CONFIG_GLOBAL": str(tmp_path / "config"), "GIT_DIR": "/nonexistent", "GIT_TRACE": "1"}
    done = fault.harness("bisect-commits", "--repo", tmp_path, cwd=None, **variables)
    assert done.returncode == 0, done.stderr
    assert plain_text(done.stdout)
    assert f"first bad commit: {git(tmp_path, 'rev-parse', '0.20.0')}\n" in done.stdout
    assert not (tmp_path / "hooked").exists()


@pytest.mark.parametrize("what", ["header", "message", "redirect"])
def test_a_hostile_server_never_loses_the_verdict_line(what: str, fault: Field) -> None:
    import base64
    import hashlib

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            request = connection.recv(4096).decode()
            key = next(
                line.split(": ")[1] for line in request.split("\r\n") if line.lower().startswith("sec-websocket-key")
            )
            accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())
            head = (
                b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                + accept
                + b"\r\n"
            )
            if what == "redirect":
                head = b"HTTP/1.1 302 X\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n"
            agreed = b"\xff\x1b[2J" if what == "header" else b"ocpp2.0.1"
            connection.sendall(head + b"Sec-WebSocket-Protocol: " + agreed + b"\r\n\r\n")
            connection.sendall(b"\x81\x07\xff\xfe\x1b[2J\n" if what == "message" else b"")
            connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=[listener], daemon=True).start()
        done = fault.run(sys.executable, "client.py", f"ws://127.0.0.1:{listener.getsockname()[1]}")
    assert (done.returncode, last(done)[:21]) == (125, "verdict: inconclusive")
    assert plain_text(done.stdout)
