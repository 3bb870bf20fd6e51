"""The lesson: five steps with the real commands, and a bisect of which the learner is the judge."""

import os
import pty
import subprocess
import sys

import pytest

from harness import lesson

from .conftest import ROOT, make


@pytest.mark.slow
def test_without_a_terminal_it_runs_through_without_a_pause() -> None:
    done = make("-s", "lesson")
    assert done.returncode == 0, done.stderr
    places = [done.stdout.index(f"$ {' '.join(step.command)}") for step in lesson.STEPS]
    assert places == sorted(places)
    for part in ("verdict: rejected - Inv", "verdict: open", "first fixed: 0.20.0", "client.py lands at 0.19.0 good"):
        assert part in done.stdout
    assert done.stdout.endswith(" The same.\n")
    assert "make: " not in done.stdout + done.stderr
    assert "make[1]" not in done.stdout + done.stderr


def test_the_learner_may_go_back_and_is_told_where_it_leads() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from harness import lesson; lesson.judge_yourself()"]
    with subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=subprocess.PIPE, text=True) as learner:
        os.close(theirs)
        # 0.30.1 is bad, 0.18.3 good; then a mistake is taken back, and 0.20.0 is called good.
        os.write(ours, b"bad\nnonsense\nbad\nback\ngood\nbad\nbad\nbad\ngood\n")
        printed = learner.communicate(timeout=60)[0]
    os.close(ours)
    assert printed.count("uvicorn 0.18.3 (") == 2
    assert "You land at 0.20.0 good, 0.21.0 bad." in printed
    assert "client.py lands at 0.19.0 good, 0.20.0 bad. Not the same" in printed
