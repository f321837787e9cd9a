"""Fleets of fleets over a bad network and on machines that fail: no sum of grants ever exceeds what the top granted."""

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.delegation.rules import LOW
from tests.support.delegations import AT_HAND, World

SEEDS = int(os.environ.get("TALLYSTICK_DELEGATION_SEEDS", "1000"))


def play(seed: int, children: int, steps: int, below: int = 0) -> World:
    """One run to its end; the sums are checked after each step, and all of both logs at the end."""
    world = World(random.Random(seed), children, below)
    for _ in range(steps):
        world.step()
    world.check_all()
    world.heal()
    world.check_end()
    return world


@pytest.mark.parametrize("seed", range(20))
def test_children_that_ask_for_more_than_there_is_are_never_granted_more(seed: int) -> None:
    play(seed, 12, 300)


def test_a_hundred_children_overrun_what_they_have_and_all_of_it_is_covered() -> None:
    world = play(1_000, 100, 2_500)
    left = world.top.ledger.pool[0]
    assert left is not None
    assert left < AT_HAND["tokens"] // LOW, "they have asked for all there is: one more would take the rest"
    assert world.overruns > 10


@pytest.mark.parametrize("seed", range(3))
def test_children_of_children_are_three_levels_of_the_same(seed: int) -> None:
    play(seed, 5, 1_500, below=3)


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 3), st.integers(0, 1))
def test_both_ledgers_add_up_together_whatever_happens(chance: random.Random, children: int, below: int) -> None:
    world = World(chance, children, below)
    for _ in range(60):
        world.step()
    world.check_all()


@pytest.mark.delegation_long
@pytest.mark.parametrize("part", range(20))
def test_a_hundred_children_in_many_runs(part: int) -> None:
    for seed in range(part * SEEDS // 20, (part + 1) * SEEDS // 20):
        play(seed, 100, 1_500, below=3 if seed % 4 == 0 else 0)


def test_a_child_that_closes_gives_everything_back_and_the_parent_releases_its_account() -> None:
    world = play(5, 3, 400)
    world.close(0)
    assert world.top.ledger.delegated["team-0"].booked > 0
    assert "team-0" in world.top.ledger.released
    world.check_all()
