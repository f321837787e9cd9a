"""One look at all open runs says how far the runs of a kind go."""

import pytest

from tallystick.actors.policies.forecasting.curves import Curves
from tallystick.actors.policies.forecasting.growth_forecast import AVERAGE_RATE, Course
from tallystick.actors.policies.forecasting.runs import Runs
from tallystick.actors.policies.parts import whole
from tallystick.config.amounts import TOKENS, Amounts
from tallystick.events import catalog as e
from tallystick.events.state.growth import NO_STEPS, Growth
from tallystick.events.state.history import History
from tests.support.core import Core, allocate, fleet, use

ONE_A_STEP = Course(1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, AVERAGE_RATE)
QA = ("qa", None)


def learnt(steps: int, agent_type: str = "qa") -> e.RunLearned:
    """A run of 10 tokens a step."""
    return e.RunLearned(
        agent="over",
        agent_type=agent_type,
        steps=steps,
        consumed=Amounts(10 * steps, 0, 0),
        elapsed_ms=0,
        growth=Growth.read(NO_STEPS).numbers(),
    )


def looked(history: History, going: dict[str, int], agent_type: str = "qa") -> Curves:
    """A look while these agents are open, which have made so many steps."""
    core = Core(fleet(10**6), *(allocate(name, 1_000, agent_type=agent_type) for name in going))
    for name, steps in going.items():
        core.given(*[use(name, 10)] * steps)
    curves = Curves(history)
    whole(curves.look(core.ledger.names, Runs(core.ledger)))
    return curves


@pytest.fixture
def history() -> History:
    found = History()
    for steps in (1, 2, 3, 8):
        found.fold(learnt(steps))
    return found


def test_runs_under_way_count_in_what_runs_use_and_in_how_many_steps_they_have(history: History) -> None:
    alone = looked(history, {})
    beside = looked(history, {"ann": 4, "bob": 5, "cyd": 6})
    assert alone.finished(QA)[TOKENS].total(0, 0.5) == 30
    assert beside.finished(QA)[TOKENS].total(0, 0.5) == 80
    assert alone.lengths(QA).chance(ONE_A_STEP, 3, 0) == pytest.approx(3 / 4)
    assert beside.lengths(QA).chance(ONE_A_STEP, 3, 0) == pytest.approx(3 / 7)


def test_runs_of_another_kind_say_nothing(history: History) -> None:
    beside = looked(history, {"ann": 4, "bob": 5, "cyd": 6}, agent_type="dev")
    assert beside.finished(QA)[TOKENS].total(0, 0.5) == 30
