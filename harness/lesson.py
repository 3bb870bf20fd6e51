"""lesson: predict, run the real command, compare; then judge a bisect oneself. What is right is what was measured."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import dropwhile

from harness import releases
from harness.base import Interpreter
from harness.index import Index, Release
from harness.place import ROOT, Unavailable
from harness.search import Answer, Found, search
from harness.steps import OLDEST, QUESTIONS, STEPS, TELLS, VERDICTS, Step
from harness.words import Words

WIDTH = 79  # columns
ANSWERS = {"good": Answer.GOOD, "bad": Answer.BAD, "skip": Answer.UNTESTABLE}


class Back(Exception):
    """The learner takes an answer back."""


def teach(words: Words) -> int:
    """Walk through the steps, a bisect and three questions; it waits only for somebody at a terminal. Returns 0.

    Raises Unavailable where something cannot be measured.
    """
    for number, step in enumerate(() if words.get("AT") == "bisect" else STEPS, 1):
        print(f"\n\n--- {number} of {len(STEPS)}")
        said = predicted(step)
        lines = run(step.command)
        print(f"\n$ {step.command}\n...", *lines, sep="\n")
        print(f"\n{compared(said, true(step.choices, lines))}\n{step.why}", flush=True)
        ask("Enter goes on. ", [""])
    measured = judge_yourself()
    measured += [f"{step.command}: {true(step.choices, run(step.command))}" for step in STEPS]
    summary = []
    for last in QUESTIONS:
        print("\n")
        said = predicted(last)
        summary += [last.asks, compared(said, true(last.choices, measured))]
    print("\n\n--- What you said, and what was measured", *summary, sep="\n", flush=True)
    return 0


@cache
def run(command: str) -> list[str]:
    """Run a command, and return the lines that tell, cut to the terminal. Raises Unavailable where none does."""
    # This make's own words are not for the make that it starts.
    others = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "GNUMAKE"))}
    done = subprocess.run(
        [*command.split(), "--silent"], cwd=ROOT, env=others, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    lines = [line for line in done.stdout.splitlines() if re.match(TELLS, line, re.IGNORECASE)]
    undecided = lines and lines[-1].startswith("verdict: inconclusive")  # which is an answer too
    if not lines or (done.returncode and not undecided):
        raise Unavailable(f"{command} did not answer: {' '.join(done.stderr.splitlines()[-2:])}")
    return [line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..." for line in lines]


def judge_yourself() -> list[str]:
    """Let the learner judge releases, and then the tool.

    Returns what the tool finds, and what the newest release is. Raises Unavailable.
    """
    usable = releases.usable(Index.configured().releases("uvicorn"), Interpreter.named().version)
    among = list(dropwhile(lambda one: one.version != OLDEST, usable))
    given: dict[Release, str] = {}

    def tried(one: Release) -> list[str]:
        return run(f"make try UVICORN={one.version}")

    def of_client(one: Release) -> str:
        return dict(zip(VERDICTS, ANSWERS, strict=True))[true(VERDICTS, tried(one))]

    def of_learner(one: Release, left: int) -> Answer:
        if one not in given:
            more = f"at most {left - 1} more" if left > 1 else "the last step"
            response = tried(one)[:-1]  # without the verdict
            print(f"\nuvicorn {one.dated}, {more}", *response, sep="\n", flush=True)
            word = ask("good, bad, skip or back? ", [*ANSWERS, "back"]) or of_client(one)
            if word == "back":
                if given:
                    given.popitem()
                raise Back
            given[one] = word
        return ANSWERS[given[one]]

    ends = [of_client(among[0]), of_client(among[-1])]
    told = f"{among[0].version} is {ends[0]} and {among[-1].version} is {ends[1]}"
    if ends != ["good", "bad"]:
        raise Unavailable(f"{told}: there is nothing to bisect")
    print(f"\n\n--- Judge a bisect yourself: {told}, client.py says.")
    print("Of each release you see the response. Say good, bad or skip; back undoes.")
    yours: Found[Release] | None = None
    while not yours:
        with contextlib.suppress(Back):
            yours = search(among, of_learner)
    landed = [f"last good: {yours.last_good.dated}", f"first bad: {yours.first_bad.dated}"]
    print("\nWhere you land:", *landed, sep="\n")
    for one, word in given.items():
        if word != of_client(one):
            print(f"{one.version}: you said {word}, client.py says {of_client(one)}.")
    found = run("make bisect")
    print("\n$ make bisect\n...", *found, sep="\n")
    print("The same." if landed == found else "Not the same.", flush=True)
    return [*found, f"newest: {ends[1]}"]


def predicted(step: Step) -> str:
    """Ask, and return the choice that the learner makes; empty where nobody is at the terminal."""
    choices = dict(zip("abc", step.choices, strict=True))
    print(step.asks, *(f"  {letter}) {text}" for letter, text in choices.items()), sep="\n", flush=True)
    return choices.get(ask("a, b or c? ", choices), "")


def true(choices: Mapping[str, str], measured: Iterable[str]) -> str:
    """The first choice whose pattern is in what was measured; empty where none is."""
    text = "\n".join(measured)
    found = (choice for choice, pattern in choices.items() if re.search(pattern, text, re.DOTALL | re.IGNORECASE))
    return next(found, "")


def compared(said: str, measured: str) -> str:
    """What was said beside what was measured."""
    what = f"Measured: {measured or 'nothing that decides it'}."
    return f"{what} You said so." if said == measured else f"{what}\nYou said: {said}." if said else what


def ask(prompt: str, words: Iterable[str]) -> str:
    """One of these words, as the learner types it; empty where nobody is at the terminal."""
    while sys.stdin.isatty():
        try:
            word = input(prompt).strip().lower()
        except EOFError:
            raise KeyboardInterrupt from None
        if word in words:
            return word
    return ""
