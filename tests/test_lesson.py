"""The lesson: predictions are compared with what was measured, and a bisect of which the learner is the judge."""

import os
import pty
import re
import subprocess
import sys

from harness.steps import STEPS

from .conftest import ROOT, harness


def test_without_a_terminal_it_runs_through_and_the_answer_stands_last() -> None:
    done = harness("lesson")
    assert (done.returncode, done.stderr) == (0, "")
    parts = done.stdout.split("\n--- ")[1:]
    assert len(parts) == len(STEPS) + 2
    answers = ("two or more", "one", "it opens", "the client refuses it", "the first fixed release")
    for step, part, answer in zip(STEPS, parts, answers, strict=False):
        assert f"\n$ {step.command}\n" in part
        assert f"\nMeasured: {answer}.\n{step.why}" in part
        assert "Traceback" not in part
        assert len(part.splitlines()) < 24
        assert max(map(len, part.splitlines())) < 80
    assert "Where you land:\nlast good: 0.19.0 (2022-10-19)\nfirst bad: 0.20.0 (2022-11-20)\n" in done.stdout
    assert "\nThe same.\n" in done.stdout


def test_the_learner_judges_a_bisect_and_what_was_said_stands_beside_what_was_measured() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "harness", "lesson", "AT=bisect"]
    with subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=subprocess.PIPE, text=True) as learner:
        os.close(theirs)
        # 0.30.1 is bad, 0.18.3 good; then a mistake is taken back, and 0.20.0 is called good. Then the questions.
        os.write(ours, b"bad\nnonsense\nbad\nback\ngood\nbad\nbad\nbad\ngood\n" + b"a\n\nc\na\n")
        printed = learner.communicate(timeout=60)[0]
    os.close(ours)
    assert "1 of 5" not in printed
    assert printed.count("uvicorn 0.18.3 (") == 2
    assert "Where you land:\nlast good: 0.20.0 (2022-11-20)\nfirst bad: 0.21.0 (2023-03-09)\n" in printed
    assert "0.20.0: you said good, client.py says bad.\n" in printed
    assert "\nNot the same.\n" in printed
    said = re.findall(r"Measured: (.*?)\.\s+You said(?:: (.*)\.| so)", printed)
    right = ["0.20.0 without the header in headers=", "0.20.0", "and passes no subprotocol="]
    assert said == [(right[0], "the newest release"), (right[1], ""), (right[2], "with subprotocol= or without it")]
