"""Between which two releases a handshake changed."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NoReturn, TypeAlias

from packaging.version import Version
from tqdm import tqdm

from harness.index import Listing, Release, listing
from harness.judge import cores
from harness.model import Cause, Trial
from harness.search import Answer, Direction, Found, NoChange, NothingTestable, search, steps
from harness.shelf import checked

FIRST = "0.12.0"  # the first release whose requirements admit the pinned websockets
# What the releases between two such ends will not have either.
HOPELESS = (Cause.MISSING_IMPORT, Cause.UNAVAILABLE, Cause.NO_APP)
Bar: TypeAlias = "tqdm[NoReturn]"
Judging = Callable[[Release], Trial]


def candidates(among: Listing, python: str, good: str, bad: str, pre: bool, withdrawn: bool) -> list[Release]:
    """The releases from `good` to `bad`, both included, that this Python may install.

    Each end is a version, a date (the newest release of that day or before it), or `latest`. Withdrawn releases and
    pre-releases are left out unless asked for or named. Raises ValueError where an end is not there.
    """
    usable = among.usable(python, pre, withdrawn)
    ends = [end(text, usable) for text in (good, bad)]
    low, high = map(Version, ends)
    found = [
        release
        for release in among.releases
        if low <= Version(release.version) <= high
        and (release in usable or (Version(release.version) in (low, high) and release.admits(python)))
    ]
    known = {Version(release.version) for release in found}
    for name, version in (("good", low), ("bad", high)):
        if version not in known:
            raise ValueError(f"--{name} {version} is no release that can be used from {low} to {high}")
    return found


def end(text: str, usable: Sequence[Release]) -> str:
    """The version that an end of the range names. Raises ValueError."""
    until = text if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else ""
    if text == "latest" or until:
        named = [release for release in usable if not until or (release.released and release.released <= until)]
        if not named:
            raise ValueError(f"there is no release up to {text}")
        return named[-1].version
    return str(checked(text))


def tag(text: str) -> str:
    """The tag of the newest release of a date; any other revision as it is. Raises ValueError, Unavailable."""
    return end(text, listing("uvicorn").usable("3.99")) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else text


def left_out(among: Listing, found: Sequence[Release], last: Release, first: Release) -> list[Release]:
    """The releases between two that were not among the candidates."""
    low, high = Version(last.version), Version(first.version)
    return [release for release in among.releases if release not in found and low < Version(release.version) < high]


def bisect(releases: Sequence[Release], judging: Judging, direction: Direction) -> Found[Release]:
    """Check both ends, then search between them; prints a line for every release judged.

    `releases` is sorted, its first said to be before the change and its last after it; one that cannot
    be judged gives way to its nearest neighbour that can. Raises NoChange where an end is not what it is
    said to be, NothingTestable where there are no two ends.
    """
    with ThreadPoolExecutor(cores()) as pool, tqdm(disable=None, leave=False, unit="step") as bar:
        running: dict[int, Future[Trial]] = {}

        def start(index: int) -> Future[Trial]:
            if index not in running:
                running[index] = pool.submit(judging, releases[index])
            return running[index]

        low, high = 0, len(releases) - 1
        # Where the ends can be judged, as nearly always, the middle is asked about next.
        for index in (low, high, 1 + (high - low - 1) // 2)[: len(releases)]:
            start(index)
        for index in (low, high):
            say(bar, releases[index], start(index).result(), "an end")
        ends = [start(index).result() for index in (low, high)]
        if all(trial.cause for trial in ends) and ends[1].cause in HOPELESS:
            raise NothingTestable(ends[1].reason, ends[1].cause is Cause.MISSING_IMPORT)
        if ends[0].cause:
            low = inward(releases, range(1, high), start, bar)
        if ends[1].cause:
            high = inward(releases, range(high - 1, low, -1), start, bar)
        for index, expected, name in (
            (low, direction.before, direction.last),
            (high, direction.after, direction.first),
        ):
            verdict = start(index).result().verdict
            if verdict is not expected:
                raise NoChange(
                    f"{releases[index].version} is {verdict.name}, not {expected.name}: it is not {name.split()[1]}"
                )
        bar.reset(total=steps(high - low - 1))
        known = [low, high]  # the latest before the change, the earliest after it

        def ask(index: int, left: int) -> Answer:
            bar.set_postfix_str(releases[index].version)
            asked = start(index)
            # A core that would be idle judges what may be asked next; a wrong guess costs nothing but its time.
            for before, after in [(known[0], index), (index, known[1])][: cores() - 1]:
                if after - before > 1:
                    start(before + 1 + (after - before - 1) // 2)
            trial = asked.result()
            say(bar, releases[index], trial, f"at most {left - 1} more" if left > 1 else "the last step")
            bar.update(1)
            answer = direction.answer(trial)
            if answer is not Answer.UNTESTABLE:
                known[answer is Answer.BAD] = index
            return answer

        found = search(range(low, high + 1), ask)
        untestable = tuple(releases[index] for index in found.untestable)
        return Found(releases[found.last_good], releases[found.first_bad], untestable)


def inward(releases: Sequence[Release], indices: range, start: Callable[[int], Future[Trial]], bar: Bar) -> int:
    """The first of these releases that can be judged; as many are judged at once as there are cores."""
    for place, index in enumerate(indices):
        for ahead in indices[place : place + cores()]:
            start(ahead)
        trial = start(index).result()
        say(bar, releases[index], trial, "the end moves inward")
        if not trial.cause:
            return index
    raise NothingTestable("no release between the ends can be judged")


def say(bar: Bar, release: Release, trial: Trial, note: str) -> None:
    """Print the line of one release above the progress bar."""
    reason = trial.reason if trial.cause else ""
    parts = (f"{release.version:12} {release.released or 'no date':10}  {trial.verdict.name:12}", note, reason)
    bar.write("  ".join(part for part in parts if part).rstrip())
