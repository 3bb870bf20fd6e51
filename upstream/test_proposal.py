"""The proposal, proven on the newest release of uvicorn: `make upstream` runs this, and every week a workflow does."""

import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from harness.base import UV, Interpreter
from harness.git import git
from harness.index import Index, Release
from harness.place import execute, run
from harness.sources import settings
from harness.survey import ROWS, everything, measure

FIX, TEST, REQUIREMENTS = (Path(__file__).with_name(name) for name in ("fix.patch", "test.patch", "requirements.txt"))
MENDED = ("server-headers", "accept-headers")
OWN_TESTS = "tests/protocols/test_websocket.py"
FAILURE = "invalid Sec-WebSocket-Protocol header: multiple values: "
# The tests in test.patch, and what pytest says of them without the fix: one must fail, one must pass either way.
NEW = {
    "test_subprotocol_header_is_sent_once": rf"failure .*{FAILURE}.*",
    "test_subprotocol_header_without_accepted_subprotocol": "passed",
}
Outcomes = dict[str, str]  # by test: `passed`, or else pytest's word and its message


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcomes]:
    """What came of uvicorn's own tests and the new ones: without the fix, and with it."""
    index, release = newest()
    files = [one for one in index.files("uvicorn") if one.version == release.version]
    sdist = next(one for one in files if one.package_type == "sdist")
    folder = tmp_path_factory.mktemp("uvicorn")
    index.client.download_package(sdist, folder / sdist.filename, verify=bool(sdist.digests), timeout=10)
    run(["tar", "-xof", sdist.filename], folder)
    without = patched(folder / sdist.filename.removesuffix(".tar.gz"), TEST, folder / "without")
    with_fix = patched(without, FIX, folder / "with")
    return [tried(without), tried(with_fix)]


def test_what_went_out_twice_goes_out_once_and_nothing_else_changes(capsys: pytest.CaptureFixture[str]) -> None:
    index, release = newest()
    questions = everything(index)
    before, after = (measure([replace(q, patch=p) for q in questions], index, [release])[0] for p in (None, FIX))
    changed = {}
    with capsys.disabled():
        print(f"\n{f'uvicorn {release.version}':36} without   with the fix")
        for old, new in zip(before, after, strict=True):
            print(f"{new.implementation:18} {new.case:17} {old.verdict.name:9} {new.verdict.name}")
            if (old.verdict, old.sent) != (new.verdict, new.sent):
                changed[new.implementation, new.case] = old.verdict.name, new.verdict.name, new.sent
    assert not {f"{one.implementation}, {one.case}: {one.reason}" for one in before + after if one.cause}
    assert changed == {(row, case): ("rejected", "open", ["ocpp2.0.1"]) for row in ROWS for case in MENDED}


def test_uvicorns_own_tests_pass(outcomes: list[Outcomes], capsys: pytest.CaptureFixture[str]) -> None:
    without, with_fix = outcomes
    own = {test: said for test, said in with_fix.items() if test.split("[")[0] not in NEW}
    count = Counter(said.split()[0] for said in own.values())
    with capsys.disabled():
        print(f"\nuvicorn's own {OWN_TESTS} with the fix: {', '.join(f'{n} {word}' for word, n in count.items())}")
    # What fails without the fix too is not the fix's doing: both are shown, for nothing is proven then.
    failed = [test for test, said in own.items() if said.startswith(("failure", "error"))]
    assert not [f"{test}: {own[test]}; without the fix: {without[test]}" for test in failed]
    assert count["passed"]


@pytest.mark.parametrize("name", NEW)
def test_a_new_test_tells_and_passes_with_the_fix(name: str, outcomes: list[Outcomes]) -> None:
    without, with_fix = ({test: said for test, said in one.items() if test.split("[")[0] == name} for one in outcomes)
    assert without
    assert not {test: said for test, said in without.items() if not re.fullmatch(NEW[name], said, re.DOTALL)}
    assert with_fix == dict.fromkeys(without, "passed")


def newest() -> tuple[Index, Release]:
    index = Index.configured()
    return index, [one for one in index.releases("uvicorn") if not one.prerelease and not one.withdrawn][-1]


def patched(sources: Path, patch: Path, folder: Path) -> Path:
    """A copy of the sources with a patch in it. Raises Unavailable with the files and lines where it does not fit."""
    shutil.copytree(sources, folder)
    git(folder, "apply", str(patch))
    return folder


def tried(sources: Path, *selection: str) -> Outcomes:
    """What came of the selected tests; without a selection of all, where those that fail are tried again alone."""
    written = sources / "tried.xml"
    # The pins want 3.11, and an environment of their own keeps out the plugins of pytest that others have.
    python = Interpreter.find("" if sys.version_info >= (3, 11) else ">=3.11").path
    pinned = [UV, "run", "--quiet", "--no-project", "--no-config", "--isolated", "--python", python]
    pinned += ["--with-requirements", str(REQUIREMENTS)]
    options = ["-o", "addopts=", "-p", "no:cacheprovider", f"--junitxml={written}"]
    # uv may need the user's proxies, and the tests none; nor what the user has set for pytest.
    unset = [f"-u{name}" for name in settings() if re.match(r"PYTEST_|\w+_proxy$", name, re.I)]
    command = ["env", *unset, "python", "-m", "pytest", *options, *(selection or [OWN_TESTS, "-n", "8"])]
    environment = {**settings(), "PYTHONPATH": str(sources), "PYTHONSAFEPATH": "1"}
    status, printed, errors = execute([*pinned, *command], sources, environment)
    assert status in (0, 1), printed + errors  # 1: some failed
    found = {}
    for test in ElementTree.parse(written).iter("testcase"):
        said = [f"{one.tag} {one.get('message')}" for one in test if one.tag in ("failure", "error", "skipped")]
        found[test.get("name", "")] = "; ".join(said) or "passed"
    failed = [test for test, said in found.items() if said.startswith(("failure", "error")) and FAILURE not in said]
    again = [] if selection else [f"{OWN_TESTS}::{test}" for test in failed]
    return found | tried(sources, *again) if again else found
