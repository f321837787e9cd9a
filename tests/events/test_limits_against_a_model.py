"""Limits against a model that keeps every use with its time: the same decisions, and never more than allowed.

Each session has three to five limits that overlap, where windows are calendar ones also the fleet's and a product's
limit of the day, and agents four levels deep whose budgets are carved out of each other's.
`TALLYSTICK_LIMIT_SEEDS` says how many sessions are played, half of each kind (`make limits`: 10,000).
"""

import os

import pytest

from tests.support.limit_sessions import AGENTS, Session

SEEDS = int(os.environ.get("TALLYSTICK_LIMIT_SEEDS", "96"))
BATCHES = 6


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_hold_is_granted_exactly_where_the_model_has_room(batch: int) -> None:
    for seed in range(batch, SEEDS // 2, BATCHES):
        session = Session(seed, rolling=False)
        for _ in range(50):
            step = session.random.random()
            if step < 0.3:
                session.wait()
            elif step < 0.75:
                session.reserve(exact=True)
            elif step < 0.9:
                session.end_one(more=True)
            else:
                session.report()
        session.compare()


@pytest.mark.parametrize("batch", range(BATCHES))
def test_in_every_span_of_a_rolling_windows_length_grants_use_and_hold_at_most_the_maximum(batch: int) -> None:
    for seed in range(batch, SEEDS // 2, BATCHES):
        session = Session(1_000_000 + seed, rolling=True)
        model = session.model
        for _ in range(60):
            step = session.random.random()
            if step < 0.3:
                session.wait()
            elif step < 0.75:
                session.reserve(exact=False)
            else:
                session.end_one(more=False)
            now = session.core.now
            for limit in model.limits:
                for value in {model.value(limit, session.says(agent)) for agent in AGENTS}:
                    for measure, most in limit["max"].items():
                        assert sum(model.taken(limit, value, measure, now)) <= most
        session.compare()
