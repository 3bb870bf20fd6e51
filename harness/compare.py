"""What differs between surveys: the first is what is known, the others what further machines and days measured."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from harness import evidence
from harness.environment import Unavailable
from harness.evidence import NEWEST, PINNED, Evidence
from harness.model import CASES, Trial, plain
from harness.readme import code

Pair = tuple[str, str]  # what the first survey says, and what another says, as Markdown
Found = dict[tuple[str, str, str], dict[Pair, list[int]]]  # by release, implementation and case: which surveys say so


@dataclass(frozen=True)
class Survey:
    number: int
    file: Path
    evidence: Evidence
    cells: dict[tuple[str, str, str], Trial]

    def before(self, trial: Trial) -> Trial | None:
        """The same cell of the release before one that this survey lacks."""
        earlier = [version for version in self.evidence.releases if Version(version) < Version(trial.uvicorn)]
        return self.cells[earlier[-1], trial.implementation, trial.case] if earlier else None


def compare(files: Sequence[Path]) -> tuple[str, bool]:
    """What differs between the first survey and the others, as Markdown, and whether a verdict or a release does.

    Raises Unavailable where a file is no survey.
    """
    first, *others = [_read(number, file) for number, file in enumerate(files, 1)]
    releases = sorted({version for one in (first, *others) for version in one.evidence.releases}, key=Version)
    came = [version for version in releases if version not in first.evidence.releases]
    differing = _find(first, others, _verdicts)
    parts = [
        _surveys([first, *others]),
        _section("Cells whose verdicts differ", differing, releases),
        f"**Releases that came: {', '.join(came) or 'none'}.**",
        *([_section("Cells of these, after the release before", _added(first, others), releases)] if came else []),
        *_gone(first, others),
        _section("Cells that only one of two could judge", _find(first, others, _judged_by_one), releases),
        _section("Cells with one verdict, but another class or header", _find(first, others, _otherwise), releases),
    ]
    return "\n\n".join(parts), bool(differing or came)


def _verdicts(known: Trial, trial: Trial) -> Pair | None:
    judged = not known.cause and not trial.cause
    return (known.verdict.name, trial.verdict.name) if judged and known.verdict is not trial.verdict else None


def _judged_by_one(known: Trial, trial: Trial) -> Pair | None:
    if bool(known.cause) == bool(trial.cause):
        return None
    return (_told(known) if known.cause else "judged", _told(trial) if trial.cause else "judged")


def _otherwise(known: Trial, trial: Trial) -> Pair | None:
    judged = not known.cause and known.verdict is trial.verdict
    return (_seen(known), _seen(trial)) if judged and _seen(known) != _seen(trial) else None


def _find(first: Survey, others: Iterable[Survey], differ: Callable[[Trial, Trial], Pair | None]) -> Found:
    """The cells of which two surveys' trials differ in some way."""
    found: Found = {}
    for other in others:
        for cell, trial in other.cells.items():
            pair = differ(first.cells[cell], trial) if cell in first.cells else None
            if pair:
                found.setdefault(cell, {}).setdefault(pair, []).append(other.number)
    return found


def _added(first: Survey, others: Iterable[Survey]) -> Found:
    """The cells of the releases that the first survey lacks, beside those of the release before."""
    found: Found = {}
    for other in others:
        for cell, trial in other.cells.items():
            if cell not in first.cells:
                before = first.before(trial)
                pair = (_told(before) if before else "", _told(trial))
                found.setdefault(cell, {}).setdefault(pair, []).append(other.number)
    return found


def _section(words: str, found: Found, releases: Sequence[str]) -> str:
    """What was found, counted in words and as a table."""
    titles = ["releases", "implementation", "case", "survey 1", "other surveys", "which"]
    table = ["", _row(*titles), "|---" * len(titles) + "|", *(_row(*row) for row in _merged(found, releases))]
    return "\n".join([f"**{words}: {len(found) or 'none'}.**", *(table if found else [])])


def _read(number: int, file: Path) -> Survey:
    try:
        found = evidence.read(file)
    except Unavailable:
        raise Unavailable(f"{file} is not there, or no survey of this version") from None
    return Survey(number, file, found, {(one.uvicorn, one.implementation, one.case): one for one in found.trials})


def _surveys(surveys: Iterable[Survey]) -> str:
    """Which surveys these are, as a table."""
    lines = ["| survey | file | measured | Python | platform | websockets | newest uvicorn |", "|---" * 7 + "|"]
    for one in surveys:
        kept = one.evidence
        websockets = " and ".join(kept.websockets(rows[0]) for rows in (PINNED, NEWEST))
        shown = [code(str(one.file)), kept.measured[:10], kept.python, code(kept.platform), websockets, kept.newest]
        lines.append(_row(str(one.number), *shown))
    return "\n".join(lines)


def _gone(first: Survey, others: Iterable[Survey]) -> Iterator[str]:
    for other in others:
        lacking = [version for version in first.evidence.releases if version not in other.evidence.releases]
        if lacking:
            yield f"**Releases that survey {other.number} lacks:** {', '.join(lacking)}."


def _merged(found: Found, releases: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The rows of a table: neighbouring releases in one, and cases that say the same in one."""
    places: dict[tuple[str, str, Pair, str], list[int]] = {}
    for (release, name, case), pairs in found.items():
        for pair, numbers in pairs.items():
            key = (name, case, pair, ", ".join(map(str, numbers)))
            places.setdefault(key, []).append(releases.index(release))
    merged: dict[tuple[str, str, Pair, str], list[str]] = {}
    for (name, case, pair, which), indexes in places.items():
        for start, end in _runs(sorted(indexes)):
            span = releases[start] if start == end else f"{releases[start]} - {releases[end]}"
            merged.setdefault((span, name, pair, which), []).append(case)
    for (span, name, pair, which), cases in merged.items():
        told = "every case" if len(cases) == len(CASES) else ", ".join(code(case) for case in cases)
        yield span, code(name), told, *pair, which


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The first and the last of each run of numbers without a gap."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _told(trial: Trial) -> str:
    return f"{trial.verdict.name}: {code(trial.reason)}" if trial.cause else trial.verdict.name


def _seen(trial: Trial) -> str:
    return f"{code(trial.ran.rpartition('.')[2])} sent {code(' / '.join(trial.sent)) or 'none'}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(map(plain, cells))} |"
