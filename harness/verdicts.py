"""Judge one uvicorn in its environment, and keep the verdict for the next time."""

import contextlib
import hashlib
import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from packaging.version import Version

from harness import environments
from harness.environments import ROOT, Interpreter, Pins, Unavailable
from harness.trial import Trial

LIMIT = 120  # seconds for all trials of one interpreter; each of them has limits of its own
TRIAL = ROOT / "harness" / "trial.py"


@dataclass(frozen=True)
class Setting:
    """What every trial of a run has in common."""

    pins: Pins
    interpreter: Interpreter


def specimen_digest() -> str:
    """A digest of the files that decide a verdict."""
    files = (ROOT / "server.py", ROOT / "client.py", TRIAL, ROOT / "harness" / "constraints.txt")
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


class Kept:
    """The verdicts on disk: a line is a key and a trial, the last one for a key counts.

    Lines are appended whole, so runs at once do not disturb each other, and half a line of a killed one
    is passed over.
    """

    def __init__(self, file: Path, fresh: bool = False) -> None:
        """Read the file; `fresh` removes it."""
        self._file = file
        self._trials: dict[str, Trial] = {}
        if fresh:
            file.unlink(missing_ok=True)
        if not file.is_file():
            return
        for line in file.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                self._trials[entry["key"]] = Trial(**entry["trial"])

    def get(self, key: str) -> Trial | None:
        return self._trials.get(key)

    def put(self, key: str, trial: Trial) -> None:
        self._trials[key] = trial
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # The line before may be half of one, of a run that was killed.
        line = "\n" + json.dumps({"key": key, "trial": asdict(trial)}) + "\n"
        with self._file.open("ab", buffering=0) as file:
            file.write(line.encode())


def judge(version: str, cells: Sequence[tuple[str, str]], setting: Setting, kept: Kept) -> list[Trial]:
    """The trials of one release, in the order of `cells`: implementation and case.

    What cannot be judged is inconclusive, with the reason. Verdicts of trials that ran are kept, and
    so is what the release itself rules out; what the network or the machine ruled out is not.
    """
    digest = specimen_digest()
    keys = {cell: _key(version, cell, setting, digest) for cell in cells}
    missing = [cell for cell in cells if kept.get(keys[cell]) is None]
    found = {cell: trial for cell in cells if (trial := kept.get(keys[cell])) is not None}
    if missing:
        try:
            python = environments.for_release(version, setting.pins, setting.interpreter)
        except Unavailable as error:
            for cell in missing:
                found[cell] = Trial(version, *cell, detail=str(error))
                if error.lasting:
                    kept.put(keys[cell], found[cell])
        else:
            for trial in run_trials(python, version, missing):
                cell = (trial.implementation, trial.case)
                found[cell] = trial
                if _lasting(trial):
                    kept.put(keys[cell], trial)
    return [found[cell] for cell in cells]


def _lasting(trial: Trial) -> bool:
    """Whether another try would say the same, which a busy machine's failures do not let one tell."""
    return trial.verdict != "inconclusive" or bool(re.search(r"ImportError|ModuleNotFoundError| has no ", trial.detail))


def _key(version: str, cell: tuple[str, str], setting: Setting, digest: str) -> str:
    parts = [version, *cell, *setting.pins.requirements, setting.interpreter.path, setting.interpreter.version, digest]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def run_trials(python: Path, version: str, cells: Sequence[tuple[str, str]]) -> list[Trial]:
    """Run trial.py once for all cells of a release; a trial that says nothing is inconclusive."""
    implementations = sorted({implementation for implementation, _ in cells})
    cases = sorted({case for _, case in cells})
    command = [str(python), "-I", str(TRIAL), "--json", "--ws", *implementations, "--case", *cases]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
        printed, status, errors = done.stdout, f"ended with status {done.returncode}", done.stderr
    except subprocess.TimeoutExpired:
        printed, status, errors = "", f"did not end within {LIMIT} s", ""
    except OSError as error:
        printed, status, errors = "", f"did not start: {error}", ""
    trials = {}
    for line in printed.splitlines():
        trial = Trial(**json.loads(line))
        trials[trial.implementation, trial.case] = trial
    last = errors.strip().splitlines()[-1:]
    silent = "; ".join([f"the trial {status}", *last])
    return [_checked(trials.get(cell) or Trial(version, *cell, detail=silent), version) for cell in cells]


def _checked(trial: Trial, version: str) -> Trial:
    """The trial, made inconclusive where another uvicorn than the one asked for was judged."""
    if trial.verdict != "inconclusive" and Version(trial.uvicorn) != Version(version):
        trial.verdict, trial.detail = "inconclusive", f"uvicorn {trial.uvicorn} ran instead of {version}"
    trial.uvicorn = version
    return trial


def trial_command(python: Path, *arguments: str) -> list[str]:
    """The command that judges by hand what this interpreter runs."""
    return [str(python), "-I", str(TRIAL), *arguments]


def run_trial(command: Sequence[str]) -> int:
    """Run a trial for a person to read, and pass its exit status on."""
    return subprocess.run(command).returncode
