"""The first bad item of a sorted list, where some items cannot be tested.

Pure functions after the idea of `git bisect` and of cargo-bisect-rustc's `least_satisfying`.
"""

from collections.abc import Callable, Iterator, Sequence
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

    With u untestable answers this asks at most `steps(len(items) - 2) + u + u // 7` questions. A run of
    untestable items away from the change is left after few questions; one right at the change is asked
    about in full, since any item in it could have turned out to be testable.

    Where good and bad alternate, the result is one of the changes from good to bad. Raises ValueError
    for fewer than two items, and lets through whatever `ask` raises.
    """
    if len(items) < 2:
        raise ValueError(f"a search needs a good item and a bad one, got {len(items)} in all")
    good, bad = 0, len(items) - 1
    untested = list(range(good + 1, bad))
    while untested:
        # Untestable answers shrink `untested` but do not move the middle that this round started from.
        for index in _outward(untested):
            before = [other for other in untested if other < index]
            after = [other for other in untested if other > index]
            answer = ask(items[index], 1 + steps(max(len(before), len(after))))
            if answer is Answer.GOOD:
                good, untested = index, after
                break
            if answer is Answer.BAD:
                bad, untested = index, before
                break
            untested = before + after
    return Found(items[good], items[bad], tuple(items[good + 1 : bad]))


def _outward(untested: Sequence[int]) -> Iterator[int]:
    """Yield the middle, then alternate between both sides of it, out to the ends.

    The nearest neighbours come first: they halve the rest as well as the middle does. Then every stride
    doubles the distance from the middle, or halves what is left to the end where that is shorter. So a
    long run of untestable items is left quickly, and without jumping past the few testable ones beyond it.
    As many as seven are asked about before one whose answer may leave more than half of the rest, hence
    the seventh in the bound of `search`.
    """
    middle = len(untested) // 2
    yield untested[middle]
    distance = 1
    while distance <= middle:
        yield untested[middle - distance]
        if middle + distance < len(untested):  # an even number of items has one fewer on this side
            yield untested[middle + distance]
        distance += max(1, min(distance, (middle - distance + 1) // 2))
