"""Long work in parts finds what it would find in one go, and no part is long."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.actors.policies import parts
from tallystick.actors.policies.forecasting.curves import Curves
from tallystick.actors.policies.forecasting.final_usage import BEYOND, Finished
from tallystick.actors.policies.forecasting.runs import Run
from tallystick.actors.policies.forecasting.survival import Ends, Seen, masses
from tallystick.actors.policies.parts import AT_ONCE, Pace, Parts, each_of, whole
from tallystick.actors.policies.rebalancing import fair_level
from tallystick.actors.policies.rebalancing.fair_level import FairLevel, Unknown
from tallystick.config.amounts import DIMENSIONS
from tallystick.events.state.accounts import Account
from tallystick.events.state.growth import observed
from tallystick.events.state.history import History
from tests.support.core import START

ages = st.lists(st.integers(0, 20), max_size=20)


@given(ages, ages)
def test_runs_that_are_only_counted_say_what_they_say_one_by_one(ended: list[int], cut: list[int]) -> None:
    found, left = masses([*(Seen(age, age) for age in ended), *(Seen(age, age, ended=False) for age in cut)])
    known = Ends(ended, cut)
    assert known.masses() == ([mass for _, mass in found], left)
    assert known.ages == [run.age for run, _ in found]
    assert known.most == max([*ended, *cut], default=0)


names = st.lists(st.text("ab", min_size=1, max_size=4), unique=True)


@given(names, names, names, st.integers(1, 5), st.integers(0, 10))
def test_names_that_stay_come_once_whatever_comes_and_goes(
    there: list[str], come: list[str], go: list[str], at_once: int, after: int
) -> None:
    listed, seen = sorted(there), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "AT_ONCE", at_once)
        for name in each_of(listed):
            seen.append(name)
            if len(seen) == after:
                listed[:] = sorted({*there, *come} - set(go))
    assert all(one < other for one, other in pairwise(seen)), "in order, none twice"
    assert {*there} - {*go} <= {*seen} <= {*there, *come}


def test_a_part_is_over_after_so_many_looks_or_after_what_takes_as_long() -> None:
    pace = Pace()
    assert [pace.is_over() for _ in range(2 * AT_ONCE)].count(True) == 2
    assert pace.is_over(AT_ONCE)
    assert not pace.is_over(AT_ONCE - 1)
    assert pace.is_over()


def steps_in(found: Parts[object]) -> int:
    """In how many parts something is done."""
    return 1 + sum(1 for _ in found)


def test_a_look_at_many_runs_is_taken_in_parts_and_counts_each() -> None:
    runs = {}
    for number in range(4 * AT_ONCE):
        account = Account.open(f"a-{number:04}", None, (100, None, None), START)
        account.growth, account.spent = observed(account.growth, (number, 0, 0)), [number, 0, 0]
        runs[account.id] = Run.of(account)
    curves = Curves(History())
    assert steps_in(curves.look(sorted(runs), runs)) == 1 + 4
    (kind,) = curves._kinds.values()
    assert kind._used[0].most == 4 * AT_ONCE - 1
    assert kind._used[0].masses() == ([], 4 * AT_ONCE)


agents = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 400), st.sampled_from([0.25, 0.5, 1.0]), st.booleans()),
    min_size=1,
    max_size=30,
)


@given(agents, st.integers(0, 5_000), st.integers(1, 7))
def test_a_level_is_the_same_in_how_many_parts_it_is_found(
    agents: list[tuple[int, int, float, bool]], free: int, at_once: int
) -> None:
    kinds = (Finished(Ends([])), Finished(Ends([50, 100, 200])))

    def level() -> float:
        fair = FairLevel()
        for used, own, weight, is_known in agents:
            fair.add(used, max(used, own), weight, kinds[is_known])
        return whole(fair.find(free))

    found = level()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "AT_ONCE", at_once)
        patch.setattr(fair_level, "AT_ONCE", at_once)
        assert level() == pytest.approx(found)


def test_a_level_among_many_of_whom_nothing_is_known_is_found_in_parts() -> None:
    fair = FairLevel()
    for number in range(100 * AT_ONCE):
        fair.add(number, 2 * number, 1.0, Finished(Ends([])))
    # By single agents, there would be half a hundred times as many looks.
    assert 100 <= steps_in(fair.find(0)) < 130


def test_a_level_among_many_kinds_is_found_in_parts() -> None:
    fair = FairLevel()
    for number in range(2 * AT_ONCE):
        fair.add(number, 2 * number, 1.0, Finished(Ends([1_000])))
    assert steps_in(fair.find(0)) > 2 * 48


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 200)), min_size=1), st.integers(0, 300))
def test_of_whom_nothing_is_known_what_they_were_given_counts(known: list[tuple[int, int]], level: int) -> None:
    def wants(used: int, own: int) -> float:
        return used if used >= level else min(level, max(used * (1 + BEYOND), own))

    unknown = Unknown([used for used, _ in known], [own for _, own in known], 1.0)
    assert unknown.expected(level) == pytest.approx(sum(wants(*one) for one in known))
    assert unknown.expected(unknown.unbound) == pytest.approx(unknown.expected(10 * unknown.unbound + 1))


def used_in(finished: Iterable[Finished]) -> list[list[int]]:
    return [one.used for one in finished]


def test_a_kind_without_runs_is_made_of_what_ended() -> None:
    assert used_in(Curves(History()).finished(("qa", None))) == [[] for _ in DIMENSIONS]
