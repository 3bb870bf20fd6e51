"""lesson: predict, run the real command, compare; then judge a bisect oneself. What is right is what was measured."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence

from harness import releases
from harness.asking import question
from harness.index import Index
from harness.judge import Judge
from harness.model import Trial, Verdict
from harness.place import ROOT, Unavailable
from harness.search import Answer, search
from harness.steps import QUESTIONS, RESPONSE, STEPS, Step
from harness.words import Mistake

WIDTH = 79  # columns
ANSWERS = {"good": Answer.GOOD, "bad": Answer.BAD, "skip": Answer.UNTESTABLE}
OF_CLIENT = {Verdict.open: "good", Verdict.rejected: "bad", Verdict.inconclusive: "skip"}


def teach(words: Mapping[str, str]) -> int:
    """Walk through the steps, a bisect and three questions; it waits only for somebody at a terminal. Returns 0.

    Raises Mistake, and Unavailable where something cannot be measured.
    """
    at = words.get("AT", "start")
    if at not in ("start", "bisect"):
        raise Mistake(f"AT={at}: it is start or bisect")
    measured: dict[str, str] = {}
    for number, step in enumerate(STEPS if at == "start" else (), 1):
        print(f"\n\n--- {number} of {len(STEPS)}\n{step.asks}")
        said = choice(step.choices)
        measured[step.command], lines, total = run(step)
        print(f"\n$ {step.command}\n... {total} lines; these answer it:")
        print(*map(cut, lines), sep="\n")
        print(f"\n{compared(step.choices, said, measured[step.command])}\n{step.why}", flush=True)
        ask("Enter goes on. ", ("",))
    first_bad, newest_opens = judge_yourself()
    for step in STEPS:
        measured[step.command] = measured.get(step.command) or run(step)[0]
    summary = []
    for last in QUESTIONS:
        print(f"\n\n{last.asks}")
        said = choice(last.choices)
        true = [letter for letter, so in zip("abc", last.true(measured, first_bad, newest_opens), strict=True) if so]
        summary.append(f"{last.asks}\n{compared(last.choices, said, true[0] if len(true) == 1 else '')}")
    print("\n\n--- What you said, and what was measured", *summary, sep="\n", flush=True)
    return 0


def run(step: Step) -> tuple[str, list[str], int]:
    """Run a step's command: the choice that is measured, the lines that answer it, and how many there were.

    Raises Unavailable where it does not answer.
    """
    # This make's own words are not for the make that it starts.
    others = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "GNUMAKE"))}
    command = [*step.command.split(), "--silent", "--no-print-directory"]
    done = subprocess.run(command, cwd=ROOT, env=others, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    printed = done.stdout.splitlines()
    lines = [line for line in printed if re.match(step.answers, line)]
    if done.returncode or not step.measured(lines):
        raise Unavailable(f"{step.command} did not answer: {(done.stderr.splitlines() or printed or [''])[-1]}")
    return step.measured(lines), lines, len(printed) + len(done.stderr.splitlines())


class Back(Exception):
    """The learner takes an answer back."""


def judge_yourself() -> tuple[str, bool]:
    """Let the learner judge releases, and say where that leads.

    Returns the first bad release by client.py's verdicts, and whether the newest opens. Raises Unavailable.
    """
    index = Index.configured()
    asked = question({}, index)
    among = releases.usable(index.releases("uvicorn"), asked.base.interpreter.version, False, False, [])
    seen: dict[int, Trial] = {}
    given: dict[int, str] = {}
    with Judge(asked, index) as judging:
        among = among[judging.oldest(among) :]

        def of_client(place: int) -> str:
            if place not in seen:
                seen[place] = judging.release(among[place], observed=True)[0]
            return OF_CLIENT[seen[place].verdict]

        def of_learner(place: int, left: int) -> Answer:
            if place not in given:
                of_client(place)
                more = f"at most {left - 1} more" if left > 1 else "the last step"
                print(f"\nuvicorn {among[place].dated}, {more}")
                print(*(cut(line) for line in seen[place].lines if re.match(RESPONSE, line)), sep="\n", flush=True)
                word = ask("good, bad, skip or back? ", (*ANSWERS, "back")) or of_client(place)
                if word == "back":
                    if given:
                        given.popitem()
                    raise Back
                given[place] = word
            return ANSWERS[given[place]]

        ends = [f"{among[place].version} is {of_client(place)}" for place in (0, len(among) - 1)]
        if OF_CLIENT[seen[0].verdict] != "good" or of_client(len(among) - 1) != "bad":
            raise Unavailable(f"{' and '.join(ends)}: there is nothing to bisect")
        print(f"\n\n--- Judge a bisect yourself: {' and '.join(ends)}, client.py says.")
        print("Of each release you see the response. Say good, bad or skip; back undoes.")
        while True:
            with contextlib.suppress(Back):
                yours = search(range(len(among)), of_learner)
                break
        theirs = search(range(len(among)), lambda place, _: ANSWERS[of_client(place)])
    print()
    for whose, found in (("You land", yours), ("client.py lands", theirs)):
        print(f"{whose} at {among[found.last_good].version} good, {among[found.first_bad].version} bad.")
    for place, word in given.items():
        if word != OF_CLIENT[seen[place].verdict]:
            print(f"{among[place].version}: you said {word}, client.py says {OF_CLIENT[seen[place].verdict]}.")
    print("The same." if yours == theirs else "Not the same.", flush=True)
    return among[theirs.first_bad].version, seen[len(among) - 1].verdict is Verdict.open


def choice(choices: Sequence[str]) -> str:
    """What the learner chooses of a, b and c; empty where nobody is at the terminal."""
    print(*(f"  {letter}) {text}" for letter, text in zip("abc", choices, strict=True)), sep="\n", flush=True)
    return ask("a, b or c? ", ("a", "b", "c"))


def compared(choices: Sequence[str], said: str, measured: str) -> str:
    """What was said beside what was measured."""
    text = dict(zip("abc", choices, strict=True))
    what = f"Measured: {measured}) {text[measured]}." if measured else "What was measured does not decide it."
    if not said:
        return what
    return f"{what} You said so." if said == measured else f"{what}\nYou said: {said}) {text[said]}."


def ask(prompt: str, words: Sequence[str]) -> str:
    """One of these words, as the learner types it; empty where nobody is at the terminal."""
    while sys.stdin.isatty():
        try:
            word = input(prompt).strip().lower()
        except EOFError:
            raise KeyboardInterrupt from None
        if word in words:
            return word
    return ""


def cut(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."
