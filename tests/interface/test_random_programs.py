"""Whatever programs of agents and calls do, and wherever they are interrupted: nothing stays open, and what was spent
is what they reported.
"""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.programs import consumed, fleet_of, nothing_is_open, run
from tests.support.random_programs import AGENTS, CAUGHT, AgentOf, Mistake, Running, playing


@settings(max_examples=examples(90))
@given(program=AGENTS, cancel_at=st.integers(0, 20), later=st.integers(0, 6))
def test_coroutines_that_raise_and_are_cancelled_leave_nothing_open(
    program: AgentOf, cancel_at: int, later: int
) -> None:
    with fleet_of(live=True) as fleet:
        running = Running(fleet, cancel_at, later)
        run(playing(running, program))
        assert nothing_is_open(fleet)
        assert consumed(fleet).get("tokens", 0) == running.reported


@settings(max_examples=examples(60))
@given(program=AGENTS)
def test_threads_that_raise_leave_nothing_open(program: AgentOf) -> None:
    with fleet_of(live=True) as fleet:
        running = Running(fleet)
        with contextlib.suppress(Mistake, *CAUGHT):
            running.agent(program)
        assert nothing_is_open(fleet)
        assert consumed(fleet).get("tokens", 0) == running.reported
