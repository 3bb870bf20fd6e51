"""A base and a folder with `uvicorn/` in it go in, trials come out: of now, or kept from before."""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from harness import environment, shelf
from harness.environment import FOLDER, ROOT, Unavailable
from harness.model import App, Cause, Cell, Job, Observation, Script, Trial, Verdict, plain
from harness.shelf import Setting, Unfit

TRIAL = ROOT / "harness" / "trial.py"
LIMIT = 30.0  # seconds for a base to import what it has; a job has a limit of its own, in trial.py
KEPT = FOLDER / "verdicts.jsonl"
RUNS = FOLDER / "runs"  # what scripts printed
Answers = list[tuple[Trial, Observation]]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Forks:
    """The process of one base, which imports everything but uvicorn and forks for every folder that it is given."""

    def __init__(self, python: Path) -> None:
        """Raises Unavailable where that Python does not say that it is ready."""
        self._answers: dict[int, Future[Answers]] = {}
        self._ready: Future[dict[str, object]] = Future()
        self._lock = threading.Lock()
        self._asked, self._ended = 0, False
        try:
            self._process = subprocess.Popen(
                [str(python), "-I", str(TRIAL), "--jobs"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment.settings(),
                start_new_session=True,  # it ends when its stdin does, and a Ctrl-C is not for it
            )
        except OSError as error:
            raise Unavailable(f"{python.parent.parent.name} cannot be started: {error.strerror}") from error
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            ready = self._ready.result(LIMIT)
            self.versions = {str(name): str(version) for name, version in dict(ready["versions"]).items()}  # type: ignore[call-overload]
            self.altered = str(ready["altered"])
        except (TimeoutError, KeyError, TypeError, ValueError, Unavailable):
            self.close()
            raise Unavailable(f"the Python of {python.parent.parent.name} said nothing") from None

    def ask(self, job: Job) -> Answers:
        """What came of each cell of the job, in order. Raises Unavailable where this process itself has ended."""
        answer: Future[Answers] = Future()
        with self._lock:
            if self._ended:  # its pipe may take a question all the same
                raise Unavailable("the process that judges has ended")
            self._asked += 1
            self._answers[self._asked] = answer
            line = json.dumps({"number": self._asked, "job": asdict(job)}) + "\n"
            assert self._process.stdin
            try:
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()
            except (OSError, ValueError):
                raise Unavailable("the process that judges has ended") from None
        return answer.result()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            assert self._process.stdin
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                said = json.loads(line)
                if "versions" in said:
                    self._ready.set_result(said)
                else:
                    answers = [(Trial.from_json(one["trial"]), Observation(**one["seen"])) for one in said["said"]]
                    self._answers.pop(said["number"]).set_result(answers)
        gone = Unavailable("the process that judges has ended")
        with self._lock:
            self._ended = True
            if not self._ready.done():
                self._ready.set_exception(gone)
            for answer in self._answers.values():
                answer.set_exception(gone)
            self._answers.clear()


class Kept:
    """The verdicts on disk: a line is a key and a trial, the last one for a key counts.

    Lines are appended whole, so runs at once do not disturb each other, and what is no such line is passed over.
    """

    def __init__(self, file: Path = KEPT, fresh: bool = False) -> None:
        """Read the file; `fresh` removes it. Raises Unavailable where it cannot be removed."""
        self._file = file
        self._trials: dict[str, Trial] = {}
        try:
            size = file.stat().st_size
            if fresh or size > environment.SIZE:
                file.unlink()
                return
            lines = file.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise Unavailable(f"cannot read {file}: {error.strerror}") from error
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                entry = json.loads(line)
                self._trials[entry["key"]] = Trial.from_json(entry["trial"])

    def get(self, key: str) -> Trial | None:
        return self._trials.get(key)

    def put(self, key: str, trial: Trial) -> None:
        self._trials[key] = trial
        # The line before may be half of one, of a run that was killed. What is not kept is judged again.
        line = "\n" + json.dumps({"key": key, "trial": trial.to_json()}) + "\n"
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab", buffering=0) as file:
                file.write(line.encode())


@dataclass(frozen=True)
class Subject:
    """What is asked of each uvicorn: cases of server.py, or an app or a command of one's own; patched, how often."""

    app: App | None = None
    command: tuple[str, ...] = ()
    limit: float = 60
    patch: Path | None = None
    runs: int = 1


class Judge:
    """Judges releases and folders with one setting, any number at once, inside a `with` block."""

    def __init__(self, setting: Setting, kept: Kept | None = None, subject: Subject | None = None) -> None:
        self.setting = setting
        self._subject = subject or Subject()
        self._kept = kept if self._subject == Subject() else None  # what is one's own may change
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._forks: Forks | None = None
        self._aside = Path()
        self._specimen = specimen()

    def __enter__(self) -> "Judge":
        if self._subject.command or self._subject.patch:
            self._aside = self._stack.enter_context(environment.scratch("judged"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def forks(self) -> Forks:
        """The process of the base, built and started where need be. Raises Unavailable."""
        with self._lock:
            if not self._forks:
                try:
                    self._forks = self._start()
                except Unavailable:  # what is damaged is built anew, once
                    environment.discard(self.setting.folder)
                    self._forks = self._start()
                self._stack.callback(self._forks.close)
            return self._forks

    def _start(self) -> Forks:
        base = shelf.base(self.setting)
        forks = Forks(base / "bin" / "python")
        try:
            wanted = [pin.split("==") for pin in (base / "pins.txt").read_text().split()]
            having = {environment.normal(name): version for name, version in forks.versions.items()}
            other = [name for name, version in wanted if having.get(environment.normal(name)) != version]
        except (OSError, ValueError):
            other = ["list of what it has"]
        if forks.altered or other:
            forks.close()
            raise Unavailable(f"the base is damaged: {forks.altered or f'it has no {other[0]}'}")
        return forks

    def folder(self, source: Path, cells: Sequence[Cell], release: str = "", observed: bool = False) -> Answers:
        """Judge the uvicorn in a folder; `release` is the version that it must be. What fails is inconclusive."""
        subject = self._subject
        try:
            forks = self.forks()
            judged = shelf.patched(source, subject.patch, self._aside) if subject.patch else source
            job = Job(str(judged), list(cells), release, bool(release) and judged is source, observed, subject.app)
            if subject.command:
                job.script = self._script(judged)
            answers = agreed([forks.ask(job) for _ in range(subject.runs)])
            if job.script:  # only now, so that runs at once never see each other's
                RUNS.mkdir(parents=True, exist_ok=True)
                Path(job.script.output).replace(RUNS / f"{release or source.name}.txt")
            return answers
        except (Unfit, Unavailable, OSError) as error:
            cause = error.cause if isinstance(error, Unfit) else Cause.UNAVAILABLE
            trials = [Trial(release, *cell, reason=plain(str(error)), cause=cause) for cell in cells]
            return [(trial, Observation()) for trial in trials]

    def _script(self, folder: Path) -> Script:
        found = shelf.runner(self.setting, folder, self._aside)
        variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        path = f"{found}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        # Bytecode of a folder that changes may be stale and match.
        variables.update(PATH=path, VIRTUAL_ENV=str(found.parent), PYTHONDONTWRITEBYTECODE="1")
        command = [shutil.which(self._subject.command[0], path=path) or "", *self._subject.command[1:]]
        if not command[0]:
            raise Unavailable(f"cannot run {self._subject.command[0]}: it is not there")
        return Script(command, str(Path.cwd()), variables, str(found / "output.txt"), self._subject.limit)

    def release(self, version: str, cells: Sequence[Cell]) -> list[Trial]:
        """The trials of one release, in the order of `cells`. What fails is inconclusive, with the cause.

        Verdicts are kept, and so is what the release itself rules out; what the network or the machine
        ruled out is not.
        """
        keys = {cell: self._key(version, cell) for cell in cells}
        found = {cell: trial for cell in cells if self._kept and (trial := self._kept.get(keys[cell]))}
        missing = [cell for cell in cells if cell not in found]
        for (trial, _), cell in zip(self.observe(version, missing, False) if missing else [], missing, strict=True):
            found[cell] = trial
            if self._kept and (trial.cause is None or trial.cause.lasting):
                self._kept.put(keys[cell], trial)
        return [found[cell] for cell in cells]

    def observe(self, version: str, cells: Sequence[Cell], observed: bool = True) -> Answers:
        """The same with what a reader wants to see, and nothing of it from before."""
        answers: Answers = []
        for _ in range(2):
            try:
                folder = shelf.release(version)
                shelf.fit(folder, self.forks().versions, self.setting.interpreter.version)
                answers = self.folder(folder, cells, folder.name, observed)
            except (Unfit, Unavailable) as error:
                cause = error.cause if isinstance(error, Unfit) else Cause.UNAVAILABLE
                answers = [
                    (Trial(version, *cell, reason=plain(str(error)), cause=cause), Observation()) for cell in cells
                ]
            if not any(trial.cause is Cause.DAMAGED for trial, _ in answers):
                break
            environment.discard(shelf.release(version))  # it is installed anew, once
        return answers

    def _key(self, version: str, cell: Cell) -> str:
        setting = self.setting
        parts = [version, *cell, *setting.pins, setting.interpreter.path, setting.interpreter.version, self._specimen]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def agreed(runs: Sequence[Answers]) -> Answers:
    """The answers of several runs as one: where they do not agree, nothing is known."""
    found = []
    for answers in zip(*runs, strict=True):
        trial, seen = answers[0]
        verdicts = [one.verdict for one, _ in answers]
        if len(set(verdicts)) > 1:
            count = f"{verdicts.count(Verdict.open)} of {len(runs)} open"
            trial.verdict, trial.cause, trial.reason = Verdict.inconclusive, Cause.DISAGREEING, count
        found.append((trial, seen))
    return found


def specimen() -> str:
    """A digest of all that decides a verdict beside uvicorn and the pins."""
    files = [ROOT / "server.py", ROOT / "client.py", TRIAL, ROOT / "harness" / "model.py"]
    parts = [*(file.read_bytes() for file in files), *(pin.encode() for pin in shelf.ALSO)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def each(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """What a function makes of each item, in order, as many at once as there are cores; an error ends it."""
    pool = ThreadPoolExecutor(cores())
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    return os.cpu_count() or 1
