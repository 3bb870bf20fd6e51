"""upstream/: the proposal fits the newest release, does what it says, and says so when it no longer does."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import index, upstream
from harness.__main__ import main
from harness.environment import Unavailable
from harness.evidence import ROWS
from harness.model import CASES, Cause, Trial, Verdict
from harness.upstream import FIX, MENDED, TEST, Refuted

BEFORE = [
    Trial("1", name, case, Verdict.rejected if case in MENDED else Verdict.open) for name in ROWS for case in CASES
]
AFTER = [Trial("1", name, case, Verdict.open) for name in ROWS for case in CASES]
# Tests of a made-up uvicorn, which say of the folder that they lie in what they are told to.
OWN_TESTS = """
from pathlib import Path

def test_fine():
    pass

def test_other():
    assert not (Path(__file__).parents[2] / "broken").exists()
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newest release's sources: to copy, not to change."""
    newest = index.listing("uvicorn").newest("3.99")
    return upstream.download(newest, tmp_path_factory.mktemp("release"))


@pytest.fixture
def sources(release: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(release, tmp_path / release.name))


def made_up(folder: Path, *, broken: bool) -> Path:
    tests = folder / "tests" / "protocols"
    tests.mkdir(parents=True)
    for package in (tests, tests.parent):
        (package / "__init__.py").touch()
    (tests / "test_websocket.py").write_text(OWN_TESTS)
    if broken:
        (folder / "broken").touch()
    return folder


def changed(trials: list[Trial], number: int, verdict: Verdict, cause: Cause | None = None) -> list[Trial]:
    old = trials[number]
    return [*trials[:number], Trial("1", old.implementation, old.case, verdict, "why", cause), *trials[number + 1 :]]


def test_it_applies_inside_of_a_repository_too(sources: Path) -> None:
    subprocess.run(["git", "init", "--quiet", sources.parent], check=True)
    for patch in (FIX, TEST):
        upstream.apply(patch, sources)
    assert "get_accept_headers" in (sources / "uvicorn" / "protocols" / "utils.py").read_text()
    assert upstream.FAILS_WITHOUT in (sources / upstream.OWN_TESTS).read_text()


def test_a_patch_that_no_longer_applies_names_the_place(sources: Path) -> None:
    utils, wsproto, sansio = (
        sources / "uvicorn" / "protocols" / name
        for name in ("utils.py", "websockets/wsproto_impl.py", "websockets/websockets_sansio_impl.py")
    )
    utils.write_text(utils.read_text().replace("    return path_with_query_string", "    return path_with_query"))
    wsproto.unlink()
    untouched = sansio.read_text()
    with pytest.raises(Unavailable) as caught:
        upstream.apply(FIX, sources)
    assert re.fullmatch(
        rf"fix\.patch no longer applies to {re.escape(sources.name)}: "
        r"uvicorn/protocols/utils\.py, hunk 2 of 2 \(@@ -\d+,\d+ \+\d+,\d+ @@ .*\); "
        r"uvicorn/protocols/websockets/wsproto_impl\.py is missing",
        str(caught.value),
    )
    assert sansio.read_text() == untouched


def test_the_comparison_takes_the_promised_change_alone() -> None:
    upstream.compare(BEFORE, AFTER)
    assert upstream.table(BEFORE, AFTER).splitlines()[0].split() == [
        ROWS[0],
        "server-headers",
        "rejected",
        "->",
        "open",
    ]
    with pytest.raises(Refuted, match="websockets accept-headers is rejected"):
        upstream.compare(BEFORE, changed(AFTER, 1, Verdict.rejected))
    with pytest.raises(Refuted, match="websockets none is rejected"):
        upstream.compare(BEFORE, changed(AFTER, 4, Verdict.rejected))
    with pytest.raises(Refuted, match="websockets unsplit-offer is open"):
        upstream.compare(changed(BEFORE, 2, Verdict.rejected), AFTER)
    with pytest.raises(Unavailable, match=r"judged: websockets none \(why\)"):
        upstream.compare(BEFORE, changed(AFTER, 4, Verdict.inconclusive, Cause.ENDED))
    with pytest.raises(Unavailable, match="opens every handshake without the patch"):
        upstream.compare(AFTER, AFTER)


def test_a_test_that_fails_only_with_the_patch_refutes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "WORKERS", 0)  # for two tests it takes longer to start them
    plain, patched = (made_up(tmp_path / str(broken), broken=broken) for broken in (False, True))
    python = Path(sys.executable)
    assert upstream.own_tests(python, patched, plain) == upstream.Tested({}, 2, 0)
    with pytest.raises(Refuted, match=r"with the patch .*: tests/protocols/test_websocket\.py::test_other$"):
        upstream.own_tests(python, plain, patched)
    with pytest.raises(Unavailable, match=r"without the patch too: tests/protocols/test_websocket\.py::test_other$"):
        upstream.own_tests(python, patched, patched)


def test_a_new_test_counts_only_if_it_fails_as_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "WORKERS", 0)
    python, broken = Path(sys.executable), made_up(tmp_path, broken=True)
    assert upstream.new_test(python, broken, "test_fine", fails=False).passed == 1
    with pytest.raises(Refuted, match="must fail without the patch"):
        upstream.new_test(python, broken, "test_fine", fails=True)
    with pytest.raises(Refuted, match="must fail without the patch, each time with 'invalid Sec-WebSocket-Protocol"):
        upstream.new_test(python, broken, "test_other", fails=True)
    with pytest.raises(Refuted, match="1 failed"):
        upstream.new_test(python, broken, "test_other", fails=False)


@pytest.mark.parametrize(("error", "status"), [(Refuted("why"), 1), (Unavailable("why"), 125)])
def test_the_status_says_what_came_of_it(
    error: Exception, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def prove() -> None:
        raise error

    monkeypatch.setattr(upstream, "prove", prove)
    assert main(["upstream"]) == status
    assert capsys.readouterr().err.endswith(": why\n")


@pytest.mark.weekly
def test_the_whole_proof_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upstream"]) == 0
    printed = capsys.readouterr().out
    assert re.search(rf"^uvicorn's own {re.escape(upstream.OWN_TESTS)}, with the patch: \d{{3}} passed", printed, re.M)
    assert re.search(rf"^{upstream.FAILS_WITHOUT}, without the patch: \d+ failed$", printed, re.M)
    assert printed.endswith("The proposal holds.\n")
