"""The lesson: predictions are compared with what was measured, and a bisect of which the learner is the judge."""

import os
import pty
import subprocess
import sys

from harness.lesson import STEPS

from .conftest import ROOT, harness


def test_without_a_terminal_it_runs_through_and_the_answer_stands_last() -> None:
    done = harness("lesson")
    assert (done.returncode, done.stderr) == (0, "")
    parts = done.stdout.split("\n--- ")[1:]
    answers = ("two or more", "one", "it opens", "it is refused", "the first fixed")
    for step, part, answer in zip(STEPS, parts, answers, strict=False):
        assert f"\n$ {step.command}\n" in part
        assert f"\nMeasured: {answer}.\n{step.why}" in part
        assert len(part.splitlines()) < 24
        assert max(map(len, part.splitlines())) < 80
    landed = "last good: 0.19.0 (2022-10-19)\nfirst bad: 0.20.0 (2022-11-20)\n"
    assert f"Where you land:\n{landed}\n$ make bisect\n...\n{landed}The same.\n" in parts[-1]


def test_the_learner_judges_a_bisect_and_is_told_what_was_measured() -> None:
    ours, theirs = pty.openpty()
    # 0.30.1 is bad, 0.18.3 good; then 0.20.0 is called good. Then the questions.
    os.write(ours, b"nonsense\nbad\ngood\nbad\nbad\nbad\ngood\n" + b"a\n\nc\na\n")
    command = [sys.executable, "harness", "lesson", "AT=bisect"]
    printed = subprocess.run(command, cwd=ROOT, stdin=theirs, stdout=subprocess.PIPE, text=True, timeout=60).stdout
    assert "1 of 5" not in printed
    assert "first bad: 0.21.0 (2023-03-09)\n0.20.0: you said good, client.py says bad.\n" in printed
    assert "Not the same.\n" in printed
    assert "Measured: 0.20.0 without the header in headers=.\nYou said: the newest release.\n" in printed
    assert "Measured: 0.20.0.\nYou said so.\n" in printed
