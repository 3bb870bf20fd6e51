"""The first bad item of a sorted list, where some items cannot be tested.

Pure functions after the idea of `git bisect` and of cargo-bisect-rustc's `least_satisfying`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar

T = TypeVar("T")


class Answer(Enum):
    """What is known of one item once it has been asked about."""

    GOOD = auto()
    BAD = auto()
    UNTESTABLE = auto()


@dataclass(frozen=True)
class Found(Generic[T]):
    """Where good turns bad: the first bad is `first_bad` or one of `untestable`.

    `untestable` holds every item between `last_good` and `first_bad`, in order; each was asked about
    and could not be tested. It is empty when the answer is exact.
    """

    last_good: T
    first_bad: T
    untestable: tuple[T, ...]


def steps(count: int) -> int:
    """Return how many questions are left at the most, if every item can be tested.

    `count`, zero or more, is the number of items strictly between the known good and the known bad.
    """
    return count.bit_length()  # asking about the middle one leaves count // 2 of them at the most


def search(items: Sequence[T], ask: Callable[[T, int], Answer]) -> Found[T]:
    """Find the first bad item, or the narrowest range that the untestable ones allow.

    `items` is sorted, its first item known to be good and its last known to be bad; these two are not
    asked about. `ask` gets an item, and how many questions are left at the most, this one included, if
    nothing is untestable from here on. No item is asked about twice.

    With s = `steps(len(items) - 2)` and u untestable answers this asks at most s + 2u questions. Of one run
    of untestable items away from the change, however long, it asks about at most 6(s + 1). A run right at
    the change is asked about in full, since any item in it could have turned out to be testable.

    Where good and bad alternate, the result is one of the changes from good to bad. Raises ValueError
    for fewer than two items, and lets through whatever `ask` raises.
    """
    if len(items) < 2:
        raise ValueError(f"a search needs a good item and a bad one, got {len(items)} in all")
    good, bad = 0, len(items) - 1
    untested = list(range(good + 1, bad))
    untestable: list[int] = []
    misses = middle = 0
    while untested:
        if misses:
            index = _elsewhere(untested, untestable, middle, misses)
        else:
            index = middle = untested[len(untested) // 2]
        before = [other for other in untested if other < index]
        after = [other for other in untested if other > index]
        answer = ask(items[index], 1 + steps(max(len(before), len(after))))
        if answer is Answer.UNTESTABLE:
            untested = before + after
            untestable.append(index)
            misses += 1
            continue
        if answer is Answer.GOOD:
            good, untested = index, after
        else:
            bad, untested = index, before
        untestable = [other for other in untestable if good < other < bad]
        misses = 0  # the middle comes first again, so a poor split costs at most one question per untestable answer
    return Found(items[good], items[bad], tuple(items[good + 1 : bad]))


def _elsewhere(untested: Sequence[int], untestable: Sequence[int], middle: int, misses: int) -> int:
    """Choose what to ask about when the middle and whatever was tried after it, `misses` in all, are untestable.

    What lies between two untestable items is likely to be untestable too, so it waits until nothing else is left.
    """
    left = [index for index in untested if index < min(untestable)]
    right = [index for index in untested if index > max(untestable)]
    # A single untestable item is the common case, and its neighbours split the rest as well as it would have.
    if misses <= 2 and (left or right):
        return min(left[-1:] + right[:1], key=lambda index: abs(index - middle))
    # This is a run. Halving what may lie outside of it finds its ends without walking through it.
    widest = max(left, right, key=len) or untested
    return widest[len(widest) // 2]
