"""The README: every command in it does what is said beside it, and every link has the right form."""

import re
import shlex
from pathlib import Path

import pytest

from harness import clients, readme, servers
from harness.clients import Witness

from .conftest import ROOT, make

TEXT = (ROOT / "README.md").read_text()
BY_HAND = re.sub(r"<!-- \[\[\[cog.*?\[\[\[end\]\]\] -->", "", TEXT, flags=re.DOTALL)  # what no command printed
# The commands with what is said beside them; those that cog runs are compared in full, by the test of the evidence.
SAID = re.findall(r"^\$ (make .*?) +# ([\w ]+: [\w.]+)", BY_HAND, re.MULTILINE)
NAMED = {
    command.strip() for command in re.findall(r"`(make [^`]+)`|^\$ (make [^#\n]+)", TEXT, re.M) for command in command
}
# Where the others are run, in whole or in part.
ELSEWHERE = {
    "try": "test_bisect",
    "bisect": "test_bisect",
    "bisect-commits": "test_commits",
    "survey": "test_evidence",
    "check-evidence": "test_evidence",
    "compare": "test_compare",
    "clients": "test_clients",
    "servers": "test_servers",
    "report": "test_issue",
    "upstream": "test_upstream",
    "lesson": "test_lesson",
    "test-faults": "faults/test_faults",
    "test": "test_readme",
    "clean": "test_readme",
}


@pytest.mark.slow
@pytest.mark.parametrize(("command", "said"), SAID, ids=lambda part: part[:60])
def test_a_command_ends_with_what_is_said_beside_it(command: str, said: str) -> None:
    printed = make("-s", *shlex.split(command)[1:]).stdout
    assert re.search(rf"^{re.escape(said)}\b", printed, re.MULTILINE), printed


def test_every_command_is_run_by_a_test() -> None:
    assert len(SAID) >= 10
    run = {command for command, _ in SAID} | set(re.findall(r'"(make [^"]+)"', "".join(cog_blocks())))
    for command in NAMED - run - {""}:
        assert (ROOT / "tests" / f"{ELSEWHERE[command.split()[1]]}.py").is_file(), command


def cog_blocks() -> list[str]:
    return re.findall(r"\[\[\[cog(.*?)\]\]\]", TEXT, re.DOTALL)


def test_the_makefile_knows_every_variable_that_is_named() -> None:
    known = re.search(r"^SETTING = (.*)\nOWN = \$\(SETTING\) (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert known
    named = set(re.findall(r"\b([A-Z]{3,})=", BY_HAND))
    others = {"UVICORN", "SOURCE", "REPO", "GOOD", "BAD", "FIND", "FILES"}
    assert named <= {*known[1].split(), *known[2].split(), *others}


@pytest.mark.parametrize("file", ["README.md", "upstream/README.md"])
def test_every_link_has_the_right_form(file: str) -> None:
    """A page of uvicorn by its number or its two releases, one of the two rules, or a file that is here."""
    text = (ROOT / file).read_text()
    uvicorn = r"https://github[.]com/Kludex/uvicorn/((issues|pull)/\d+|compare/[\w.]+[.]{3}[\w.]+|blob/[\w./]+|releases/tag/[\w.]+)"
    rules = r"https://(www[.]rfc-editor[.]org/rfc/rfc6455#section-11[.]3[.]4|asgi[.]readthedocs[.]io/en/latest/specs/"
    pattern = rf"{uvicorn}|{rules}www[.]html#accept-send-event)|https://docs[.]astral[.]sh/uv/"
    links = [*re.findall(r"\]\(([^)]+)\)", text), *re.findall(r"(?<![(\w])https?://[^\s)`\"]+", text)]
    assert len(links) > 2
    sections = {f"#{title.lower().replace(' ', '-')}" for title in re.findall(r"^## (.*)", text, re.MULTILINE)}
    for link in links:
        assert re.fullmatch(pattern, link) or link in sections or (Path(ROOT, file).parent / link).is_file(), link


def test_what_search_engines_know_stands_on_the_first_screen() -> None:
    top = TEXT.partition("![The verdict")[0]
    for words in ("multiple subprotocols", "invalid Sec-WebSocket-Protocol header: multiple values"):
        assert words in top
    for number in ("issues/1778", "pull/1606", "pull/1293", "pull/3019", "pull/1780"):
        assert number in top


def test_the_sentences_on_clients_and_servers_follow_the_evidence() -> None:
    row = clients.read()[0]
    assert row.outcome == "refused"
    told = clients.summary(
        [row, Witness("a", "1", "opened", "x", None, "failed"), Witness("b", "", "not tried", None, None, "")]
    )
    assert told == (
        "Of 2 clients 1 refuse the connection: websockets 10.4. With a 1 it opens, and the client reports `x`, which "
        "nobody offered: code that compares finds no match. Without the header (case `none`, the control) all open, "
        "but a 1."
    )
    assert "behind uvicorn 0.20.0 and uvicorn 0.54.0 both lines go out;" in servers.summary(servers.read())


def test_a_transcript_names_nothing_of_the_machine_and_ends_at_the_pull_request() -> None:
    text = readme.transcript("make bisect-commits", "bisect-commits.txt")
    assert text.splitlines()[-2].endswith("https://github.com/Kludex/uvicorn/pull/1606")
    assert set(re.findall(r"(?<![\w.:/])/[\w-]+/[\w-]+", text)) == {"/path/to"}


def test_clean_removes_what_was_built_and_nothing_else(project: Path) -> None:
    (project / ".environments" / "broken").mkdir(parents=True)
    before = {path for path in project.rglob("*") if ".environments" not in path.parts}
    assert make("-s", "clean", cwd=project).returncode == 0
    assert set(project.rglob("*")) == before
