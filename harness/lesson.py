"""Twenty minutes in five steps: predict, run the real command, see, and learn why; then be the judge of a bisect."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness import index, releases, shelf
from harness.environment import ROOT
from harness.judge import Judge
from harness.model import HEADER, Observation, Trial
from harness.search import DIRECTIONS, Answer, Found, search
from harness.shelf import Setting

CELL = ("websockets", "server-headers")
WORDS = {"good": Answer.GOOD, "bad": Answer.BAD, "skip": Answer.UNTESTABLE}


@dataclass(frozen=True)
class Step:
    """A question to answer before, the command that answers it, and the reason."""

    question: str
    command: tuple[str, ...]
    why: str


STEPS = (
    Step(
        "The app accepts with subprotocol='ocpp2.0.1'; uvicorn.Config(headers=) has 'ocpp2.0.1, ocpp2.0, ocpp1.6'.\n"
        "How many Sec-WebSocket-Protocol lines has the response of uvicorn 0.20.0, and who writes each?",
        ("make", "broken"),
        "Two: uvicorn writes one for subprotocol=, and adds headers= as it is. RFC 6455 allows one.",
    ),
    Step(
        "The same app and client with uvicorn 0.19.0, one release earlier: how many lines now?",
        ("make", "fixed"),
        "One: before pull request #1606, in 0.20.0, headers= did not reach WebSocket responses.",
    ),
    Step(
        "Is it 0.20.0 that is at fault? Take the header away, and keep uvicorn 0.20.0.",
        ("make", "try", "UVICORN=0.20.0", "CASE=none"),
        "It opens: the app must not send the header. This is the control, and the repair.",
    ),
    Step(
        "Now the header is in websocket.accept's own headers. Would 0.19.0 help? (0.18.3 is older still.)",
        ("make", "try", "UVICORN=0.18.3", "CASE=accept-headers"),
        "No: those headers are sent since #1293, in 0.17.0. Another way to the same failure, with a date of its own.",
    ),
    Step(
        "Pages say 'upgrade to 0.20.0'. For which app is that true? Here it sends the header, and accepts without\n"
        "subprotocol=: what was agreed up to 0.19.0, and from 0.20.0 on?",
        ("make", "bisect", "CASE=header-alone", "FIND=fix", "GOOD=0.18.0", "BAD=0.22.0"),
        "Nothing was agreed before, and the header's value is since. For that app the same change is the fix.",
    ),
)


class Asking(Exception):
    """The release that the search would ask about next."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


def teach() -> None:
    """Walk through the steps and the bisect; pauses only where somebody is at the terminal. Raises Unavailable."""
    for number, step in enumerate(STEPS, 1):
        print(f"\nStep {number} of {len(STEPS)}. {step.question}\n", flush=True)
        pause("Make your prediction, then press Enter to run it.")
        print(f"$ {' '.join(step.command)}", flush=True)
        run(step.command)
        print(f"\nWhy: {step.why}", flush=True)
        pause("Press Enter to go on.")
    print("\nNow be the judge of a bisect. For each release you see the response: say good, bad or skip; back undoes.")
    judge_yourself()


def run(command: Sequence[str]) -> None:
    """Run a make command, and print what it prints but for what make itself says of its status and its folder."""
    quiet = [*command, "--silent", "--no-print-directory"]
    done = subprocess.run(quiet, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    print("".join(line for line in done.stderr.splitlines(True) if not line.startswith("make")), end="", flush=True)


def judge_yourself() -> None:
    """Let the learner answer for each release, and say at the end where that leads. Raises Unavailable."""
    setting = Setting(shelf.pins(), shelf.interpreter())
    listing, python = index.listing("uvicorn"), setting.interpreter.version
    items = releases.candidates(listing, python, "0.12.1", listing.newest(python), False, False)
    seen: dict[int, tuple[Trial, Observation]] = {}
    given: list[tuple[int, Answer]] = []
    with Judge(setting) as judging:

        def look(place: int) -> tuple[Trial, Observation]:
            if place not in seen:
                [seen[place]] = judging.observe(items[place].version, [CELL])
            return seen[place]

        def of_client(place: int, _: int) -> Answer:
            return DIRECTIONS["break"].answer(look(place)[0])

        while True:
            try:
                found = replay(len(items), given)
                break
            except Asking as asking:
                trial, observed = look(asking.place)
                print(f"\nuvicorn {trial.uvicorn} ({items[asking.place].released})")
                print("\n".join(line for line in observed.lines if line.startswith("< HTTP") or HEADER in line.lower()))
                word = said() or next(word for word, answer in WORDS.items() if answer is of_client(asking.place, 0))
                if word == "back":
                    given[-1:] = []
                else:
                    given.append((asking.place, WORDS[word]))
        true = search(range(len(items)), of_client)
    for whose, end in (("You land", found), ("client.py lands", true)):
        print(f"\n{whose} at {items[end.last_good].version} good, {items[end.first_bad].version} bad.", end="")
    print(" The same." if found == true else " Not the same: look again at the releases between the two.")


def replay(count: int, given: list[tuple[int, Answer]]) -> Found[int]:
    """The result of the search with the answers given so far. Raises Asking where it needs one more."""
    answers = dict(given)

    def ask(place: int, _: int) -> Answer:
        if place not in answers:
            raise Asking(place)
        return answers[place]

    return search(range(count), ask)


def said(read: Callable[[str], str] = input) -> str:
    """What the learner says of a release; empty where nobody is at the terminal."""
    while sys.stdin.isatty():
        word = read("good, bad, skip or back? ").strip().lower()
        if word in (*WORDS, "back"):
            return word
    return ""


def pause(text: str) -> None:
    if sys.stdin.isatty():
        input(text)
