"""The search, held against a linear scan.

A history is written as a string: `g` good, `b` bad, `?` untestable. The items searched are its positions.
"""

from collections.abc import Container
from itertools import pairwise, product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.search import Answer, Found, search, steps

ANSWERS = {"g": Answer.GOOD, "b": Answer.BAD, "?": Answer.UNTESTABLE}


def searched(history: str) -> tuple[Found[int], list[int]]:
    """Search the history: the result, and the items that were asked about.

    What holds of every search is held here: nothing is asked about twice, and the ends never; an untestable item costs
    two questions at the most; once nothing more is untestable, the steps that are said to be left suffice, and each
    answer leaves fewer; what is found is a change from good to bad, with nothing in it but untestable items; and where
    there is only one, what a linear scan finds.
    """
    asked: list[int] = []
    left: list[int] = []

    def ask(item: int, steps_left: int) -> Answer:
        asked.append(item)
        left.append(steps_left)
        return ANSWERS[history[item]]

    found = search(range(len(history)), ask)
    answers = "".join(history[item] for item in asked)
    ends = {0, len(history) - 1}
    assert len({*asked, *ends}) == len(asked) + 2
    assert len(asked) <= steps(len(history) - 2) + 2 * answers.count("?")
    assert left[:1] == [steps(len(history) - 2)][: len(left)]
    assert all(later < earlier for earlier, later in pairwise([*left[answers.rfind("?") + 1 :], 0]))
    assert found.untestable == tuple(range(found.last_good + 1, found.first_bad))
    assert {found.last_good, found.first_bad, *found.untestable} <= {*asked, *ends}
    assert history[found.last_good : found.first_bad + 1] == f"g{'?' * len(found.untestable)}b"
    if "bg" not in history.replace("?", ""):
        assert (found.last_good, found.first_bad) == (history.rindex("g"), history.index("b"))
    return found, asked


def one_change(goods: int, bads: int, untestable: Container[int] = ()) -> str:
    """A history with good items first, then bad ones; the ends stay testable."""
    middle = enumerate("g" * (goods - 1) + "b" * (bads - 1), 1)
    return f"g{''.join('?' if index in untestable else letter for index, letter in middle)}b"


@st.composite
def histories(draw: st.DrawFn) -> str:
    """One change; untestable items scattered, or in runs at the ends, around the change or anywhere."""
    goods, bads = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    untestable = draw(st.sets(st.integers(1, goods + bads)))
    places = st.one_of(st.sampled_from([1, goods, goods + bads - 2]), st.integers(1, goods + bads))
    for place, before, after in draw(st.lists(st.tuples(places, st.integers(0, 40), st.integers(0, 40)), max_size=3)):
        untestable |= set(range(place - before, place + after))
    return one_change(goods, bads, untestable)


@st.composite
def single_runs(draw: st.DrawFn) -> str:
    """One change, and one run of untestable items, before or after it, that does not touch it."""
    outside, between, beyond = (draw(st.integers(1, 150)) for _ in range(3))
    history = "g" * outside + "?" * draw(st.integers(1, 300)) + "g" * between + "b" * beyond
    return history if draw(st.booleans()) else history[::-1].translate(str.maketrans("gb", "bg"))


@settings(max_examples=1200, deadline=None)
@given(st.one_of(histories(), st.text("gb?", max_size=80).map(lambda middle: f"g{middle}b")))
def test_what_holds_of_every_search_holds(history: str) -> None:
    searched(history)


def test_it_holds_in_every_short_history() -> None:
    for length in range(7):
        for middle in product("gb?", repeat=length):
            searched(f"g{''.join(middle)}b")


@settings(max_examples=400, deadline=None)
@given(single_runs())
@example("g" * 26 + "?" * 169 + "g" + "b" * 54)
@example("g" + "b" + "?" * 500 + "b" * 9)
@example("g" * 120 + "?" * 120 + "g" * 50 + "b" * 10 + "?" * 120 + "b" * 40)  # a second run, after one left behind
def test_leaves_a_long_untestable_run_away_from_the_change_after_few_questions(history: str) -> None:
    found, asked = searched(history)
    assert found.untestable == ()
    assert sum(history[item] == "?" for item in asked) <= 6 * (steps(len(history) - 2) + 1)


@pytest.mark.parametrize("history", ["gg?ggbbbb", "gggg?bbbb", "gggggg?bb"])
def test_a_single_untestable_item_costs_one_question_at_most(history: str) -> None:
    assert len(searched(history)[1]) <= steps(len(history) - 2) + 1


def test_an_untestable_middle_leads_to_its_neighbours_first() -> None:
    assert searched("g????????b")[1][:3] == [5, 4, 6]


def test_steps_is_the_worst_case_over_every_place_of_the_change() -> None:
    for count in [*range(70), 400]:
        worst = max(len(searched(one_change(goods, count + 2 - goods))[1]) for goods in range(1, count + 2))
        assert worst == steps(count)


def test_returns_the_items_themselves_and_refuses_fewer_than_two() -> None:
    answers = {"0.18.0": Answer.GOOD, "0.19.0": Answer.UNTESTABLE, "0.20.0": Answer.BAD}
    releases = ["0.17.0", "0.18.0", "0.19.0", "0.20.0", "0.21.0"]
    assert search(releases, lambda release, _: answers[release]) == Found("0.18.0", "0.20.0", ("0.19.0",))
    with pytest.raises(ValueError, match="a good item and a bad one"):
        search(["only"], lambda _, __: Answer.GOOD)
