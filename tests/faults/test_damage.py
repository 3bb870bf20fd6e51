"""Damage on the disk, a disk that is full, an index that is hostile or another one."""

import io
import os
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import NOWHERE
from ..test_index import JSON, Serve, page, serve
from .conftest import Field

__all__ = ["serve"]
SEED = int(os.environ.get("SEED", "1778"))
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
    fault.tries("rejected", "UVICORN=0.20.0")  # which writes bytecode
    DAMAGE[name](where)
    assert fault.heals()
    shutil.rmtree(fault.folder / "releases" / "moved", ignore_errors=True)
    (fault.folder / "bases" / "x").unlink(missing_ok=True)
    for listing in fault.folder.glob("uvicorn-*.json/"):
        listing.rmdir()
        fault.bisects()


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
    kind, status = "text/html" if what == "HTML" else JSON, int(what) if what.isdigit() else 200
    url = serve(answers, kind, status, age=0)  # each of them has the same address
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
