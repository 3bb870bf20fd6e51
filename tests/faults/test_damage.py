"""Damage on the disk, a disk that is full, an index that is hostile or another one."""

import io
import os
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ..conftest import NOWHERE
from ..test_index import JSON, Serve, page, serve
from .conftest import SEED, Field, never

__all__ = ["serve"]
IMPL = "uvicorn/protocols/websockets/websockets_impl.py"
BYTECODE = "find {} -name '*.pyc' -exec truncate -s {} {{}} +"
GARBAGE = "find {} -name '*.pyc' | while read -r file; do truncate -s 16 $file; printf '\\377' >> $file; done"
# What a shell does in the folder of the release 0.20.0, in that of the base, or in the one that holds all of them.
DAMAGE = {
    "release: a file deleted": f"rm {IMPL}",
    "release: a file emptied": f"truncate -s 0 {IMPL}",
    "release: a file changed": f"sed -i 's/in self.server_state.default_headers/in []/' {IMPL}",
    "release: another one": "cp -r ../0.19.0-*/uvicorn .",
    "release: a file more": "echo 'raise SystemExit(0)' > websockets.py",
    "release: emptied": "rm -r $PWD",
    "release: a link to nowhere": "mv $PWD ../moved && ln -s /nonexistent $PWD",
    "release: a seal of its own": "printf '\\377' > .seal",
    "release: a folder for a seal": "rm .seal && mkdir .seal",
    "release: bytecode emptied": BYTECODE.format(".", 0),
    "release: bytecode cut off": BYTECODE.format(".", 100),
    "release: bytecode of zeros": f"{BYTECODE.format('.', 0)}; {BYTECODE.format('.', 100)}",
    "release: bytecode of garbage": GARBAGE.format("."),
    "release: a file for a cache": "rm -r uvicorn/__pycache__ && touch uvicorn/__pycache__",
    "base: a file deleted": "rm websockets/legacy/client.py",
    "base: a file emptied": "truncate -s 0 h11/_connection.py",
    "base: a distribution gone": "rm -r wsproto-*.dist-info",
    "base: another uvicorn in it": "echo 'raise SystemExit(0)' > uvicorn.py",
    "base: a file that Python runs": "echo 'import os; os._exit(0)' > evil.pth",
    "base: a module that hides one of Python's": "echo 'raise SystemExit(0)' > socket.py",
    "base: bytecode cut off": BYTECODE.format("websockets", 100),
    "base: bytecode of garbage": GARBAGE.format("h11"),
    "base: emptied": "rm -r $PWD",
    "base: a file in its place": "rm -r $PWD && touch $PWD",
    "listing: nothing": "truncate -s 0 uvicorn-*.json",
    "listing: no text": "printf '\\377\\376' | tee uvicorn-*.json",
    "listing: deep": "head -c 200000 /dev/zero | tr '\\0' '[' | tee uvicorn-*.json",
    "listing: null": "printf null | tee uvicorn-*.json",
    "listing: long": "head -c 10000000 /dev/zero | tr '\\0' 0 | tee uvicorn-*.json",
    "listing: for ever": """echo '{"until": 9e99, "releases": []}' | tee uvicorn-*.json""",
    "listing: a folder": "for file in uvicorn-*.json; do rm $file && mkdir $file; done",
    "listing: from the future": "touch -d @8589934592 uvicorn-*.json",
    "clock: all of it in the future": "find . -type f -exec touch -d @4294967296 {} +",
    "clock: all of it from 1970": "find . -type f -exec touch -d @0 {} +",
    "half of a build": "mkdir building-x.tmp && touch bases/x",
}


def damage(name: str, fault: Field) -> None:
    where = {"release": fault.release("0.20.0"), "base": fault.base}.get(name.partition(":")[0], fault.folder)
    subprocess.run(["sh", "-ec", DAMAGE[name]], cwd=where, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_heals(name: str, fault: Field) -> None:
    fault.tries("rejected", "UVICORN=0.20.0")  # which writes bytecode
    damage(name, fault)
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
    dice = random.Random(f"{SEED} {turn} {name}")
    file = dice.choice(sorted(fault.release("0.20.0").glob(name)))
    content = bytearray(file.read_bytes())
    for _ in range(3):
        content[dice.randrange(16, len(content))] ^= 1 << dice.randrange(8)
    file.write_bytes(content)
    fault.tries("rejected", "UVICORN=0.20.0")
    for cache in fault.release("0.20.0").rglob("__pycache__"):
        shutil.rmtree(cache)


def archive(folder: Path, **more: str) -> bytes:
    """A wheel of a release, with other files than its own."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    texts = {str(path.relative_to(folder)): path.read_text() for path in files}
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as opened:
        for name, text in {**texts, **more}.items():
            opened.writestr(name, text)
    return wheel.getvalue()


HOSTILE = ("403", "500", "404", "garbage", "no files", "another digest", "another version", "no wheel", "nobody")


@pytest.mark.parametrize("what", [*HOSTILE, "HTML", "a path", "a backport"])
def test_an_index_that_is_hostile_or_another(what: str, fault: Field, serve: Serve, tmp_path: Path) -> None:
    older, newer = fault.release("0.19.0"), fault.release("0.20.0")
    wheel = {
        "no wheel": b"no wheel",
        "another version": archive(older),
        "a backport": archive(older, **{"uvicorn/__init__.py": (newer / "uvicorn" / "__init__.py").read_text()}),
        "a path": archive(newer, **{"../../evil.py": "", "/evil.py": ""}),
    }.get(what, archive(newer))
    answers = page("0.20.0", content=wheel)
    if what == "another digest":
        answers["/uvicorn-0.20.0-py3-none-any.whl"] = wheel + b"x"
    listing = {
        "garbage": b"\xff{",
        "no files": b'{"meta": {"api-version": "1.0"}, "name": "uvicorn", "files": []}',
        "HTML": b'<a href="/uvicorn-0.20.0-py3-none-any.whl">uvicorn-0.20.0-py3-none-any.whl</a>',
    }
    answers["/simple/uvicorn/"] = listing.get(what, answers["/simple/uvicorn/"])
    kind, status = "text/html" if what == "HTML" else JSON, int(what) if what.isdigit() else 200
    url = serve(answers, kind, status, age=0)  # each of them has the same address
    url = NOWHERE if what == "nobody" else url.replace("://", "://user:hunter2@")
    out = tmp_path / "out.json"
    done = fault.verb("try", "UVICORN=0.20.0", f"JSON={out}", UV_DEFAULT_INDEX=url)
    word = fault.judged("open" if what == "a backport" else "rejected", done)
    known = {"a backport": ["open"], "HTML": ["rejected"], "a path": ["rejected", "inconclusive", ""]}
    assert word in known.get(what, ["inconclusive", ""]), done
    kept = [file for file in [*fault.folder.glob("*"), out] if file.is_file() and b"hunter2" in file.read_bytes()]
    assert ("hunter2" in done.stdout + done.stderr, kept) == (False, [])
    assert not [*fault.project.rglob("evil.py")][1:] and not Path("/evil.py").exists()
    assert fault.heals()


@pytest.mark.parametrize("how", ["size=1m", "size=200k", "ro", "a file"])
@pytest.mark.parametrize("built", [False, True], ids=["nothing built", "all built"])
def test_a_disk_that_is_full_or_cannot_be_written(how: str, built: bool, fault: Field) -> None:
    away = fault.folder.rename(fault.project / "away")
    try:
        if how == "a file":
            fault.folder.write_text("")
        else:
            fault.folder.mkdir()
            size = "size=30m" if built or how == "ro" else how
            mounted = ["mount", "-t", "tmpfs", "-o", size, "x", str(fault.folder)]
            if os.geteuid() or subprocess.run(mounted, capture_output=True).returncode:
                pytest.skip("a file system can be mounted by root alone")
            if built:
                shutil.copytree(away, fault.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("runs"))
            if how == "ro":
                subprocess.run(["mount", "-o", "remount,ro", fault.folder], check=True)
            elif built:
                with (fault.folder / "fill").open("wb", buffering=0) as file, pytest.raises(OSError):
                    while file.write(bytes(1 << 20)):
                        pass
        for more in ([], ["RUN=echo full; exit 1"], [f"JSON={fault.folder}/x.json"]):
            fault.tries("rejected", "UVICORN=0.20.0", *more)
        fault.bisects()
    finally:
        subprocess.run(["umount", "-l", fault.folder], capture_output=True)
        fault.folder.unlink() if fault.folder.is_file() else fault.folder.rmdir() if fault.folder.is_dir() else None
        away.rename(fault.folder)
    assert fault.heals()


@pytest.mark.parametrize(
    ("name", "pipe", "statuses"),
    [("base: a file emptied", ">/dev/full", [125]), ("release: emptied", "2>&-", [0, 125])],
)
def test_two_at_once(name: str, pipe: str, statuses: list[int], fault: Field) -> None:
    """Damage, a closed pipe, another's settings, and one that is killed meanwhile."""
    damage(name, fault)
    python = sys.executable
    command = f"timeout -s KILL 0.4 {python} harness bisect & {python} harness try UVICORN=0.19.0 {pipe}"
    done = fault.run("bash", "-c", command, PYTHONPATH=str(fault.release("0.19.0")), UV_OVERRIDE="/nonexistent")
    never("wrong", done.returncode == 1, done)
    assert done.returncode in statuses, done
    assert fault.heals()
