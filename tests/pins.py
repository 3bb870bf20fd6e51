"""What the README says to do by hand, with plain venv and pip, on one Python after another.

`python -m tests.pins` does it on every Python that is here, and writes evidence/pythons.json.
"""

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from .conftest import ROOT

VERSIONS = tuple(f"3.{minor}" for minor in range(8, 17))
PROMISES = {"broken": "rejected", "fixed": "open"}
EVIDENCE = ROOT / "evidence" / "pythons.json"


def find_python(version: str) -> str | None:
    """An interpreter of a version, kept by pyenv or on PATH, where it runs."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    candidates = [*map(str, pyenv.glob(f"{version}.*/bin/python")), shutil.which(f"python{version}")]
    return next((python for python in candidates if python and output(python, "--version")), None)


def try_out(python: str, folder: Path, *options: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Install one requirements file after the other into a new environment, with `options` for pip.

    Returns the verdict of the two files, run by hand, by the name of the requirements.
    """
    subprocess.run([python, "-m", "venv", folder], check=True)
    inside, verdicts = folder / "bin" / "python", {}
    for name in PROMISES:
        install: list[str | Path] = [inside, "-m", "pip", "install", "-q", "--disable-pip-version-check", *options]
        subprocess.run([*install, "-r", f"requirements-{name}.txt"], cwd=ROOT, env=environment, check=True)
        verdicts[name] = judge(inside)
    return verdicts


def judge(python: Path) -> str:
    """What client.py says of server.py."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command: list[str | Path] = [python, "server.py", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while server.poll() is None:
                with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.01)
            said = output(python, "client.py", f"ws://127.0.0.1:{port}")
        finally:
            server.send_signal(signal.SIGINT)
    return said.splitlines()[-1].removeprefix("verdict: ").split(" - ")[0]


def output(*command: str | Path) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout


def measure() -> None:
    """Try every Python that is here, and write the evidence."""
    found = [python for version in VERSIONS if (python := find_python(version))]
    names = [output(python, "-c", "import platform; print(platform.python_version())").strip() for python in found]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        verdicts = list(pool.map(try_out, found, [Path(folder, name) for name in names]))
    evidence = {
        "measured": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "platform": f"{platform.system()} {platform.machine()}",
        "pythons": dict(zip(names, verdicts, strict=True)),
    }
    EVIDENCE.write_text(json.dumps(evidence, indent=2) + "\n")


def sentence(file: Path = EVIDENCE) -> str:
    """Which Pythons were tried, for the README."""
    evidence = json.loads(file.read_text())
    held = [name for name, verdicts in evidence["pythons"].items() if verdicts == PROMISES]
    others = [name for name in evidence["pythons"] if name not in held]
    where = f"{evidence['platform']}, {evidence['measured'][:10]}"
    text = f"Installed with plain venv and pip, both files gave these verdicts on Python {', '.join(held)} ({where})"
    return f"{text}, and not on {', '.join(others)}." if others else f"{text}."


if __name__ == "__main__":
    measure()
    print(sentence())
