"""lesson: predict, run the real command, compare; then judge a bisect oneself. What is right is what was measured."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from textwrap import shorten
from typing import NamedTuple

from harness import releases
from harness.base import Interpreter
from harness.index import Index, Release
from harness.model import HEADER
from harness.place import ROOT, Unavailable
from harness.search import Answer, search
from harness.words import Words

WIDTH = 79  # columns
OLDEST = "0.12.1"  # the first that the pins of the cases can judge
TELLS = re.compile(f"(?i)< (HTTP|{HEADER})|verdict: |(last|first) (good|bad|fixed): ")  # lines of a command that tell
ANSWERS = {"good": Answer.GOOD, "bad": Answer.BAD, "skip": Answer.UNTESTABLE}
WORDS = {"open": "good", "rejected": "bad", "inconclusive": "skip"}  # for a verdict
Choices = Mapping[str, str]  # the first whose pattern is found in what was measured is true


class Step(NamedTuple):
    """A question; the command whose output answers it, and why it is so."""

    asks: str
    choices: Choices
    command: str
    why: str


LINES = {"two or more": f"< {HEADER}.*< {HEADER}", "one": f"< {HEADER}", "none": "verdict: "}
VERDICTS = {"it opens": "verdict: open", "it is refused": "verdict: rejected", "neither": "verdict: inconclusive"}
CHANGES = {"the first bad": "first bad: 0.20.0", "the first fixed": "first fixed: 0.20.0", "neither": "first "}
BROKEN, CONTROL = "make broken", "make try UVICORN=0.20.0 CASE=none"
ALONE = "make bisect CASE=header-alone GOOD=0.22.0 BAD=0.18.0"
STEPS = (
    Step(
        """The app accepts with subprotocol='ocpp2.0.1', and uvicorn is told in headers=
to send Sec-WebSocket-Protocol: ocpp2.0.1, ocpp2.0, ocpp1.6 as well.
How many lines of this header has the response of uvicorn 0.20.0?""",
        LINES,
        BROKEN,
        """uvicorn writes a line for subprotocol=, and adds headers= as it is. RFC 6455
allows one line.""",
    ),
    Step(
        "The same app and client with uvicorn 0.19.0, one release earlier. How many now?",
        LINES,
        "make fixed",
        "Before #1606, in 0.20.0, headers= did not reach WebSocket responses.",
    ),
    Step(
        "Is uvicorn 0.20.0 at fault? Keep it, and take the header out of headers=.",
        VERDICTS,
        CONTROL,
        "The header is the server's to send. This is the control, and the repair.",
    ),
    Step(
        """Now the header is in the headers of websocket.accept, and uvicorn is 0.18.3,
which is older than 0.19.0. What happens?""",
        VERDICTS,
        "make try UVICORN=0.18.3 CASE=accept-headers",
        "uvicorn sends those headers since #1293, in 0.17.0: another way to the failure.",
    ),
    Step(
        """Pages say: upgrade to 0.20.0. Another app leaves the header to headers=, and
accepts without subprotocol=. Which release is 0.20.0 for that app?""",
        CHANGES,
        ALONE,
        """Until then nothing was agreed, and since then the value of headers= is.
The change that broke the one app mended the other.""",
    ),
)
# What all of it has shown answers these.
QUESTIONS: Mapping[str, Choices] = {
    "What opens the handshake of the reported app?": {
        "the newest release": "newest: good",
        "0.20.0": f"{BROKEN}: one",
        "0.20.0 without the header in headers=": f"{CONTROL}: it opens",
    },
    "Which is the first release that fails for it?": {
        version: f"first bad: {version}" for version in ("0.17.0", "0.19.0", "0.20.0")
    },
    "Whom does 'upgrade to 0.20.0' help? One whose app has the header in headers=,": {
        "with subprotocol= or without it": f"{BROKEN}: one.*{ALONE}: the first fixed",
        "and passes subprotocol=": f"{BROKEN}: one",
        "and passes no subprotocol=": f"{ALONE}: the first fixed",
    },
}


def teach(words: Words) -> int:
    """Walk through the steps, a bisect and three questions; it waits only for somebody at a terminal. Returns 0.

    Raises Unavailable where something cannot be measured.
    """
    for number, (asks, choices, command, why) in enumerate(() if words.get("AT") == "bisect" else STEPS, 1):
        print(f"\n\n--- {number} of {len(STEPS)}")
        said, lines = predicted(asks, choices), run(command)
        print(f"\n$ {command}\n...", *lines, "", sep="\n")
        compare(said, true(choices, lines))
        print(why)
        ask("Enter goes on. ", [""])
    measured = judge_yourself()
    measured += [f"{step.command}: {true(step.choices, run(step.command))}" for step in STEPS]
    for asks, choices in QUESTIONS.items():
        print("\n")
        compare(predicted(asks, choices), true(choices, measured))
    return 0


@cache
def run(command: str) -> list[str]:
    """Run a command, and return the lines that tell, cut to the terminal. Raises Unavailable where none does."""
    env = {**os.environ, "MAKEFLAGS": "s"}  # without what this make was told
    done = subprocess.run(command.split(), cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    lines = [shorten(line, WIDTH, placeholder="...") for line in done.stdout.splitlines() if TELLS.match(line)]
    if not lines:
        raise Unavailable(f"{command} did not answer: {' '.join(done.stderr.splitlines()[-2:])}")
    return lines


def judge_yourself() -> list[str]:
    """Let the learner judge releases, and then the tool. Returns what the tool finds, and what the newest release is.

    Raises Unavailable, also where there is nothing to bisect.
    """
    found, mistakes = run("make bisect"), []
    among = releases.usable(Index.configured().releases("uvicorn"), Interpreter.find().version, {})
    among = among[[one.version for one in among].index(OLDEST) :]

    def tried(one: Release) -> tuple[list[str], str]:
        *response, verdict = run(f"make try UVICORN={one.version}")
        return response, WORDS[verdict.split()[1]]

    def judged(one: Release, left: int) -> Answer:
        response, right = tried(one)
        print(f"\nuvicorn {one.dated}, at most {left} to judge", *response, sep="\n")
        said = ask("good, bad or skip? ", ANSWERS) or right
        if said != right:
            mistakes.append(f"{one.version}: you said {said}, client.py says {right}.")
        return ANSWERS[said]

    oldest, newest = (tried(one)[1] for one in (among[0], among[-1]))
    print(f"\n\n--- Judge a bisect yourself: {OLDEST} is {oldest} and {among[-1].version} is {newest}, client.py says.")
    print("Of each release you see the response. Say good or bad, or skip it.")
    yours = search(among, judged)
    landed = [f"last good: {yours.last_good.dated}", f"first bad: {yours.first_bad.dated}"]
    print("\nWhere you land:", *landed, *mistakes, "\n$ make bisect\n...", *found, sep="\n")
    print("The same." if landed == found else "Not the same.")
    return [*found, f"newest: {newest}"]


def predicted(asks: str, choices: Choices) -> str:
    """Ask, and return the choice that the learner makes; empty where nobody is at the terminal."""
    letters = dict(zip("abc", choices, strict=True))
    print(asks, *(f"  {letter}) {choice}" for letter, choice in letters.items()), sep="\n")
    return letters.get(ask("a, b or c? ", letters), "")


def true(choices: Choices, measured: Sequence[str]) -> str:
    """The first choice whose pattern is in what was measured; empty where none is."""
    text = "\n".join(measured)
    return next((choice for choice, pattern in choices.items() if re.search(f"(?si){pattern}", text)), "")


def compare(said: str, measured: str) -> None:
    """Show what was measured, and beside it what was said where something was."""
    print(f"Measured: {measured or 'nothing that decides it'}.")
    if said:
        print("You said so." if said == measured else f"You said: {said}.")


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
