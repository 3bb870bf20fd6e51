"""The proposal in upstream/, proven on the spot against the newest release of uvicorn."""

import os
import re
import shutil
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import environment, evidence, index, shelf
from harness.environment import ROOT, Unavailable
from harness.judge import Subject
from harness.model import Trial, Verdict

PROPOSAL = ROOT / "upstream"
FIX, TEST = PROPOSAL / "fix.patch", PROPOSAL / "test.patch"
OWN_TESTS = "tests/protocols/test_websocket.py"
# Of the tests in test.patch: one for the failure, and one for what the fix must leave as it is.
FAILS_WITHOUT = "test_subprotocol_header_is_sent_once"
PASSES_EITHER_WAY = "test_subprotocol_header_without_accepted_subprotocol"
FAILURE = "invalid Sec-WebSocket-Protocol header: multiple values: "
MENDED = ("server-headers", "accept-headers")
WORKERS = 4  # most of these tests wait, so more than there are cores


class Refuted(Exception):
    """What the proposal does not do, or does wrong."""


@dataclass(frozen=True)
class Tested:
    """What came of some tests: the failed ones with their message, and the number of the others."""

    failed: dict[str, str]
    passed: int
    skipped: int

    def __str__(self) -> str:
        counts = {"failed": len(self.failed), "passed": self.passed, "skipped": self.skipped}
        return ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "none ran"


def prove() -> None:
    """Prove the proposal, and print each step. Raises Refuted, Unavailable where something cannot be had or applied."""
    interpreter = shelf.interpreter()
    newest = index.listing("uvicorn").newest(interpreter.version)
    settings = evidence.settings_of(interpreter, index.listing("websockets").newest(interpreter.version))
    python = shelf.requirements(environment.pins_of(PROPOSAL / "requirements.txt"))
    with environment.scratch("upstream") as folder:
        plain = download(newest, folder)
        patched = Path(shutil.copytree(plain, folder / "patched" / plain.name))
        apply(FIX, patched)
        print(f"{FIX.name} applies to uvicorn {newest}, the newest release", flush=True)
        release = [index.Release(newest, "", False, True, "")]
        before = evidence.measure(release, settings, None)
        after = evidence.measure(release, settings, None, Subject(patch=FIX))
        print(table(before, after), flush=True)
        compare(before, after)
        print(f"uvicorn's own {OWN_TESTS}, with the patch: {own_tests(python, plain, patched)}", flush=True)
        for sources in (plain, patched):
            apply(TEST, sources)
        for name, sources, fails in (
            (FAILS_WITHOUT, plain, True),
            (FAILS_WITHOUT, patched, False),
            (PASSES_EITHER_WAY, plain, False),
            (PASSES_EITHER_WAY, patched, False),
        ):
            label = f"{name}, {'with' if sources == patched else 'without'} the patch"
            print(f"{label}: {new_test(python, sources, name, fails)}", flush=True)


def download(version: str, folder: Path) -> Path:
    """The sources of a release, with their tests, unpacked in the folder. Raises Unavailable."""
    archive = index.download("uvicorn", version, folder)
    with tarfile.open(archive) as opened:
        # Python 3.10 has it only in its later releases.
        opened.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        opened.extractall(folder)
    return folder / archive.name.removesuffix(".tar.gz")


def apply(patch: Path, sources: Path) -> None:
    """Apply a patch, all of it or nothing. Raises Unavailable with each place where it does not fit."""
    try:
        shelf.git_apply(patch, sources)
    except Unavailable as error:
        places = "; ".join(misfits(patch.read_text(), str(error))) or str(error)
        raise Unavailable(f"{patch.name} no longer applies to {sources.name}: {places}") from None


def misfits(patch: str, errors: str) -> list[str]:
    """The hunks that git could not apply, and the files that it did not find."""
    places: dict[tuple[str, int], str] = {}
    for part in re.split(r"^diff --git .*\n", patch, flags=re.MULTILINE)[1:]:
        file = re.search(r"^--- a/(.*)", part, re.MULTILINE)
        starts = re.findall(r"^(@@ -(\d+).*)", part, re.MULTILINE)
        for number, (header, start) in enumerate(starts, 1):
            places[file[1] if file else "", int(start)] = f"hunk {number} of {len(starts)} ({header})"
    failed = re.findall(r"error: patch failed: (\S+):(\d+)", errors)
    missing = re.findall(r"error: (\S+): No such file or directory", errors)
    return [f"{file}, {places[file, int(line)]}" for file, line in failed] + [f"{file} is missing" for file in missing]


def table(before: Sequence[Trial], after: Sequence[Trial]) -> str:
    """The verdicts without and with the patch, as text."""
    lines = []
    for old, new in zip(before, after, strict=True):
        verdict = old.verdict.name if old.verdict is new.verdict else f"{old.verdict.name} -> {new.verdict.name}"
        lines.append(f"  {old.implementation:18} {old.case:15} {verdict}")
    return "\n".join(lines)


def compare(before: Sequence[Trial], after: Sequence[Trial]) -> None:
    """Raises Unavailable or Refuted where anything but a header sent twice changed, or that did not."""
    unclear = sorted({f"{one.implementation} {one.case} ({one.reason})" for one in [*before, *after] if one.cause})
    if unclear:
        raise Unavailable(f"not everything could be judged: {', '.join(unclear)}")
    if not any(one.verdict is Verdict.rejected for one in before if one.case in MENDED):
        raise Unavailable("this release opens every handshake without the patch")
    wrong = [
        f"{new.implementation} {new.case} is {new.verdict.name}"
        for old, new in zip(before, after, strict=True)
        if new.verdict is not (Verdict.open if old.case in MENDED else old.verdict)
    ]
    if wrong:
        raise Refuted(f"with the patch {', '.join(wrong)}")


def own_tests(python: Path, plain: Path, patched: Path) -> Tested:
    """Run uvicorn's own tests of WebSockets with the patch. Raises Refuted for those that fail only with it."""
    tested = run_tests(python, patched, [OWN_TESTS], workers=WORKERS)
    if not tested.passed:
        raise Unavailable(f"uvicorn's own tests: {tested}")
    if tested.failed:
        # Some of them watch the clock: alone, and without the patch, they say whose failure it is.
        again = run_tests(python, patched, sorted(tested.failed)).failed
        without = run_tests(python, plain, sorted(again)).failed if again else {}
        if blamed := sorted(again.keys() - without):
            raise Refuted(f"with the patch these tests of uvicorn's own fail: {', '.join(blamed)}")
        if again:
            raise Unavailable(f"these tests of uvicorn's own fail without the patch too: {', '.join(sorted(again))}")
        tested = Tested({}, tested.passed + len(tested.failed), tested.skipped)
    return tested


def new_test(python: Path, sources: Path, name: str, fails: bool) -> Tested:
    """Run a test of test.patch. Raises Refuted unless each of its instances passes, or fails as reported."""
    tested = run_tests(python, sources, [OWN_TESTS, "-k", name], workers=WORKERS)
    if tested.skipped or not (tested.failed or tested.passed):
        raise Unavailable(f"{name}: {tested}")
    as_reported = [test for test, message in tested.failed.items() if FAILURE in message]
    if fails and (tested.passed or len(as_reported) < len(tested.failed)):
        raise Refuted(f"{name} must fail without the patch, each time with {FAILURE!r}: {tested}")
    if not fails and tested.failed:
        raise Refuted(f"{name}: {tested}: {', '.join(sorted(tested.failed))}")
    return tested


def run_tests(python: Path, sources: Path, selection: Sequence[str], workers: int = 0) -> Tested:
    """Run some of the tests in the sources with pytest, which writes down what came of each. Raises Unavailable."""
    written = sources / "tested.xml"
    written.unlink(missing_ok=True)
    # `addopts=` drops uvicorn's own number of workers; failing tests are no failure of the command.
    program = "import sys, pytest; sys.exit(pytest.main() not in (0, 1))"
    options = ["-o", "addopts=", "-n", str(workers), "-p", "no:cacheprovider", f"--junitxml={written}"]
    kept = {name: value for name, value in os.environ.items() if not re.match(r"PYTHON|PYTEST_|\w+_proxy$", name, re.I)}
    variables = {**kept, "PYTHONPATH": str(sources), "PYTHONSAFEPATH": "1"}
    environment.run([str(python), "-c", program, *options, *selection], sources, variables)
    failed, passed, skipped = {}, 0, 0
    for test in ElementTree.parse(written).iter("testcase"):
        problem = next((child for child in test if child.tag in ("failure", "error")), None)
        if problem is not None:
            file = test.get("classname", "").replace(".", "/") + ".py"
            failed[f"{file}::{test.get('name')}"] = problem.get("message", "")
        elif test.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return Tested(failed, passed, skipped)
