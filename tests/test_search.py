"""The search, held against a linear scan.

A history is written as a string: `g` good, `b` bad, `?` untestable. The items searched are its positions.
"""

from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.search import Answer, Found, search, steps

ANSWERS = {"g": Answer.GOOD, "b": Answer.BAD, "?": Answer.UNTESTABLE}

often = settings(max_examples=300, deadline=None)


def scan(history: str) -> Found[int]:
    """The expected result where good and bad do not alternate: the last good item, and the first bad one."""
    last_good, first_bad = history.rindex("g"), history.index("b")
    return Found(last_good, first_bad, tuple(range(last_good + 1, first_bad)))


def searched(history: str) -> tuple[Found[int], list[int], list[int]]:
    """Search the history: the result, the items asked about, and the steps that were said to be left."""
    asked: list[int] = []
    left: list[int] = []

    def ask(item: int, steps_left: int) -> Answer:
        asked.append(item)
        left.append(steps_left)
        return ANSWERS[history[item]]

    return search(range(len(history)), ask), asked, left


def one_change(goods: int, length: int, untestable: set[int]) -> str:
    """A history with good items first, then bad ones; the ends stay testable."""
    goods = max(1, min(goods, length - 1))
    history = ["g"] * goods + ["b"] * (length - goods)
    for index in untestable & set(range(1, length - 1)):
        history[index] = "?"
    return "".join(history)


@st.composite
def histories(draw: st.DrawFn) -> str:
    """One change; untestable items scattered, or in runs at the ends, around the change or anywhere."""
    length = draw(st.integers(2, 120))
    goods = draw(st.integers(1, length - 1))
    untestable = draw(st.sets(st.integers(1, length)))
    places = st.one_of(st.sampled_from([1, goods, length - 2]), st.integers(1, length))
    for place, before, after in draw(st.lists(st.tuples(places, st.integers(0, 40), st.integers(0, 40)), max_size=3)):
        untestable |= set(range(place - before, place + after))
    return one_change(goods, length, untestable)


@st.composite
def single_runs(draw: st.DrawFn) -> str:
    """One change, and one run of untestable items, before or after it, that does not touch it."""
    outside, between, beyond = (draw(st.integers(1, 150)) for _ in range(3))
    run = "?" * draw(st.integers(1, 300))
    if draw(st.booleans()):
        return "g" * outside + run + "g" * between + "b" * beyond
    return "g" * beyond + "b" * between + run + "b" * outside


alternating = st.text("gb?", max_size=80).map(lambda middle: f"g{middle}b")
all_testable = st.integers(2, 400).flatmap(
    lambda length: st.integers(1, length - 1).map(lambda goods: one_change(goods, length, set()))
)


@settings(max_examples=800, deadline=None)
@given(histories())
@example("gb")
@example("g?b")
@example("g???b")
@example("g???gb")
@example("gb???b")
@example("ggg???bbb")
@example("g???gb???b")
def test_finds_what_a_linear_scan_finds(history: str) -> None:
    assert searched(history)[0] == scan(history)


def test_finds_what_a_linear_scan_finds_in_every_short_history() -> None:
    for length in range(2, 9):
        for goods in range(1, length):
            for mask in product([False, True], repeat=length):
                history = one_change(goods, length, {index for index, untestable in enumerate(mask) if untestable})
                assert searched(history)[0] == scan(history), history


@often
@given(histories() | alternating)
def test_never_asks_twice_nor_about_the_ends(history: str) -> None:
    _, asked, _ = searched(history)
    assert len(asked) == len(set(asked))
    assert not {0, len(history) - 1} & set(asked)


@often
@given(histories() | alternating)
def test_untestable_items_cost_at_most_two_questions_each(history: str) -> None:
    _, asked, _ = searched(history)
    untestable = sum(history[item] == "?" for item in asked)
    assert len(asked) <= steps(len(history) - 2) + 2 * untestable


@often
@given(single_runs())
@example("g" * 26 + "?" * 169 + "g" + "b" * 54)
@example("g" + "b" + "?" * 500 + "b" * 9)
def test_leaves_a_long_untestable_run_away_from_the_change_after_few_questions(history: str) -> None:
    found, asked, _ = searched(history)
    assert found.untestable == ()
    assert sum(history[item] == "?" for item in asked) <= 6 * (steps(len(history) - 2) + 1)


def test_a_run_that_was_left_behind_does_not_slow_down_the_way_out_of_the_next() -> None:
    history = "g" * 120 + "?" * 120 + "g" * 50 + "b" * 10 + "?" * 120 + "b" * 40
    found, asked, _ = searched(history)
    assert found == scan(history)
    assert sum(history[item] == "?" for item in asked) <= 6 * (steps(len(history) - 2) + 1)


@pytest.mark.parametrize("history", ["gg?ggbbbb", "gggg?bbbb", "gggggg?bb"])
def test_a_single_untestable_item_costs_one_question_at_most(history: str) -> None:
    assert len(searched(history)[1]) <= steps(len(history) - 2) + 1


def test_an_untestable_middle_leads_to_its_neighbours_first() -> None:
    assert searched("g????????b")[1][:3] == [5, 4, 6]


@settings(deadline=None)
@given(all_testable)
def test_halves_where_everything_is_testable(history: str) -> None:
    assert len(searched(history)[1]) <= steps(len(history) - 2)


@often
@given(histories() | alternating | all_testable)
def test_steps_left_are_not_understated_once_nothing_more_is_untestable(history: str) -> None:
    _, asked, left = searched(history)
    for done, item in reversed(list(enumerate(asked))):
        if history[item] == "?":
            break
        assert left[done] >= len(asked) - done


@settings(deadline=None)
@given(all_testable)
def test_steps_left_begin_with_what_steps_says_and_then_decrease(history: str) -> None:
    _, _, left = searched(history)
    assert left[:1] == [steps(len(history) - 2)][: len(left)]
    assert all(later < earlier for earlier, later in zip(left, left[1:], strict=False))


def test_steps_is_the_worst_case_over_every_place_of_the_change() -> None:
    for count in range(70):
        worst = max(len(searched(one_change(goods, count + 2, set()))[1]) for goods in range(1, count + 2))
        assert worst == steps(count)


@often
@given(alternating)
@example("gbgbgbgb")
@example("gb?g?b?gb")
def test_where_good_and_bad_alternate_the_result_is_a_real_change(history: str) -> None:
    found, asked, _ = searched(history)
    assert history[found.last_good] == "g"
    assert history[found.first_bad] == "b"
    assert found.untestable == tuple(range(found.last_good + 1, found.first_bad))
    assert all(history[item] == "?" for item in found.untestable)
    assert {found.last_good, found.first_bad, *found.untestable} <= {0, len(history) - 1, *asked}


def test_returns_the_items_themselves() -> None:
    answers = {"0.18.0": Answer.GOOD, "0.19.0": Answer.UNTESTABLE, "0.20.0": Answer.BAD}
    releases = ["0.17.0", "0.18.0", "0.19.0", "0.20.0", "0.21.0"]
    assert search(releases, lambda release, _: answers[release]) == Found("0.18.0", "0.20.0", ("0.19.0",))


@pytest.mark.parametrize("items", [[], ["only"]])
def test_fewer_than_two_items_are_refused(items: list[str]) -> None:
    with pytest.raises(ValueError, match="a good item and a bad one"):
        search(items, lambda _, __: Answer.GOOD)


def test_an_error_while_asking_ends_the_search() -> None:
    def ask(item: int, left: int) -> Answer:
        raise RuntimeError("no disk")

    with pytest.raises(RuntimeError, match="no disk"):
        search(range(5), ask)
