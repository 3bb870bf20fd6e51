"""Every release judged: for one question, or for every case and implementation."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tqdm import tqdm

from harness.asking import app, cases, of_case
from harness.index import Index, Release
from harness.judge import Judge, Question, each
from harness.model import Cause, Trial
from harness.releases import LATE, NothingTestable

# With which websockets each implementation is surveyed: that of requirements-broken.txt, or the newest, which
# `auto` finds where people install today and without which websockets-sansio does not run.
PINNED, NEWEST = ("websockets", "wsproto"), ("websockets-sansio", "auto")
ROWS = PINNED + NEWEST


def everything(index: Index, interpreter: str = "") -> tuple[Question, Question]:
    """What is asked of every release for the evidence: each case with each implementation, on two bases."""
    words = {"INTERPRETER": interpreter} if interpreter else {}
    questions = []
    for rows in (PINNED, NEWEST):
        apps = tuple(app({"CASE": case}, ws) for ws in rows for case in cases())
        beside = of_case(words, rows[0], index)
        questions.append(Question(beside, "every case", apps, at_once=os.cpu_count() or 1))
    return questions[0], questions[1]


def measure(questions: Sequence[Question], index: Index, releases: Sequence[Release]) -> list[list[Trial]]:
    """The trials of each release for all questions, in their order, with a progress bar on a terminal.

    Raises NothingTestable where one after the other does not end in time.
    """
    at_once = questions[0].at_once
    found: list[list[Trial]] = [[] for _ in releases]
    # The question goes first: so its base is warm for all the releases.
    with tqdm(total=len(questions) * len(releases), disable=None, leave=False, unit="release") as bar:
        index.prepare(releases, 2 * (os.cpu_count() or 1))
        for question in questions:
            with Judge(question, index) as judging:
                late = 0
                for place, trials in enumerate(each(judging.release, releases, at_once)):
                    found[place] += trials
                    late += any(one.cause is Cause.LATE for one in trials)
                    lost = place == 1 and all(one.cause is Cause.NO_APP for one in found[0][-1:] + trials)
                    if late >= LATE or lost:
                        raise NothingTestable(trials[0])
                    bar.set_postfix_str(releases[place].version)
                    bar.update(1)
    return found


def rows(found: Sequence[Sequence[Trial]]) -> dict[tuple[str, str], list[Trial]]:
    """The trials by implementation and case, each in the order of the releases."""
    wanted = [(one.implementation, one.case) for one in found[0]] if found else []
    return {cell: [trials[place] for trials in found] for place, cell in enumerate(wanted)}
