"""Every release judged: for one question, or for every case and implementation."""

import os
from collections.abc import Sequence

from tqdm import tqdm

from harness.asking import app, beside, cases
from harness.index import Index, Release
from harness.judge import Judge, Question
from harness.model import Cause, Trial
from harness.releases import give_up

# With which websockets each implementation is surveyed: that of requirements-broken.txt, or the newest, which
# `auto` finds where people install today and without which websockets-sansio does not run.
PINNED, NEWEST = ("websockets", "wsproto"), ("websockets-sansio", "auto")
ROWS = PINNED + NEWEST
CORES = os.cpu_count() or 1


def everything(index: Index, interpreter: str = "") -> list[Question]:
    """What is asked of every release for the evidence: each case with each implementation, on two bases."""
    found = []
    for rows in (PINNED, NEWEST):
        apps = tuple(app({"CASE": case}, ws) for ws in rows for case in cases())
        base = beside({"INTERPRETER": interpreter}, rows[0], index)
        found.append(Question(base, "every case", apps, at_once=CORES))
    return found


def measure(questions: Sequence[Question], index: Index, releases: Sequence[Release]) -> list[list[Trial]]:
    """The trials of each release for all questions, in their order, with a progress bar on a terminal.

    Raises Unavailable where it is no use to go on.
    """
    found: list[list[Trial]] = [[] for _ in releases]
    # The question goes first: so its base is warm for all the releases.
    with tqdm(total=len(questions) * len(releases), disable=None, leave=False, unit="release") as bar:
        index.prepare(releases, 2 * CORES)
        for question in questions:
            worst: list[Trial] = []
            with Judge(question, index) as judging:
                for place, trials in enumerate(judging.every(releases)):
                    found[place] += trials
                    worst.append(next((one for one in trials if one.cause is Cause.LATE), trials[0]))
                    give_up(worst)
                    bar.update()
    return found
