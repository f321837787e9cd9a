"""Forecasts are kept until they can be scored; efficiency is answered without tasks as far as it can be."""

import pytest

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.catalog.forecasts import OPEN_MAX, Outcome, Prediction
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Efficiency
from tallystick.events.state.growth import NO_STEPS, Growth
from tests.support.core import Core, allocate, fleet, use


def prediction(stage: int = 3, step: int = 4, dimension: str = "tokens", mark: int = 1_000) -> Prediction:
    return Prediction(
        dimension=dimension,
        stage=stage,
        mark=mark,
        step=step,
        predicted=12.5,
        low=10.0,
        high=16.0,
        baseline=20.0,
        confidence=None,
        method="linear_growth",
    )


def outcome(stage: int = 3, step: int = 4) -> Outcome:
    return Outcome(stage=stage, step=step, predicted=12.5, low=10.0, high=16.0, baseline=20.0)


def score(*outcomes: Outcome, dimension: str = "tokens", agent: str = "ann") -> p.RecordScore:
    return p.RecordScore(agent=agent, dimension=dimension, actual=13.0, forecasts=list(outcomes))


@pytest.fixture
def core() -> Core:
    return Core(fleet(10_000), allocate("ann", 1_000, agent_type="qa"))


def test_every_report_is_a_step_of_the_agents_growth(core: Core) -> None:
    assert core.account("ann").growth is NO_STEPS
    core.given(use("ann", 100), use("ann", 200, seconds=3))
    growth = Growth.read(core.account("ann").growth)
    assert (growth.steps, growth.mean[0], growth.mean[1]) == (2, 150, 1_500)


def test_a_forecast_is_kept_until_it_is_scored(core: Core) -> None:
    first, second = prediction(), prediction(stage=4, step=6)
    core.given(p.RecordForecast(agent="ann", why="stage", predictions=[first]))
    core.given(p.RecordForecast(agent="ann", why="shown", predictions=[second, prediction(dimension="cost_usd")]))
    core.then_events(e.ForecastMade)
    core.given(score(outcome()))
    assert core.account("ann").forecasts == [second, prediction(dimension="cost_usd")]
    core.given(score(outcome(4, 6)), score(outcome(), dimension="cost_usd"))
    assert core.account("ann").forecasts is None


def test_a_forecast_without_an_account_is_refused_and_leaves_nothing(core: Core) -> None:
    core.when(p.RecordForecast(agent="bob", why="shown", predictions=[prediction()]))
    core.then_refused("unknown_agent")
    core.then_events()
    core.given(c.ReleaseBudget(agent="ann"))
    core.when(p.RecordForecast(agent="ann", why="shown", predictions=[prediction()]))
    core.then_refused("already_released")


def test_so_many_forecasts_wait_and_the_oldest_give_way(core: Core) -> None:
    for step in range(OPEN_MAX + 5):
        core.given(p.RecordForecast(agent="ann", why="shown", predictions=[prediction(step=step)]))
    kept = core.account("ann").forecasts
    assert kept is not None
    assert [one.step for one in kept] == list(range(5, OPEN_MAX + 5))


def test_a_score_teaches_also_when_the_agent_is_gone(core: Core) -> None:
    core.given(c.ReleaseBudget(agent="ann"), *[score(outcome()) for _ in range(20)])
    errors = core.ledger.history.known(None, None).errors(0, 3)
    assert errors is not None
    assert errors.hits == 1.0


def test_a_run_that_has_ended_is_learnt_from(core: Core) -> None:
    core.given(use("ann", 100), use("ann", 300))
    growth = Growth.read(core.account("ann").growth).numbers()
    core.given(c.ReleaseBudget(agent="ann"))
    run = p.RecordRun(
        agent="ann", agent_type="qa", steps=2, consumed=Amounts(400, 0, 0), elapsed_ms=60_000, growth=growth
    )
    core.given(run, run, run)
    assert [one.tokens for one in core.ledger.history.known("qa", None).runs()] == [400] * 3


def test_a_loop_is_an_alert_and_an_outlier_is_not(core: Core) -> None:
    strange = {
        "agent": "ann",
        "dimension": "tokens",
        "step": 9,
        "amount": 500,
        "message": "5 steps used 500 tokens each",
    }
    core.given(p.RecordAnomaly(anomaly="loop", **strange))  # type: ignore[arg-type]
    core.then_events(e.AnomalyFound, e.AlertRaised)
    assert core.only(e.AlertRaised).message == "ann: 5 steps used 500 tokens each"
    core.given(p.RecordAnomaly(anomaly="outlier", low=1, high=9, **strange))  # type: ignore[arg-type]
    core.then_events(e.AnomalyFound)


def test_efficiency_tells_what_was_used_of_what_was_given_and_nothing_of_tasks(core: Core) -> None:
    core.given(use("ann", 250))
    unknown = (None, None, None, None)
    assert core.when(c.GetEfficiency(agent="ann")) == Efficiency("ann", *unknown, {"tokens": 0.25}, None)
    core.given(c.ReleaseBudget(agent="ann"))
    assert core.when(c.GetEfficiency(agent="ann")).utilization == {"tokens": 0.25}
    core.given(allocate("zero", 0))
    assert core.when(c.GetEfficiency(agent="zero")).utilization == {"tokens": None}
    core.when(c.GetEfficiency(agent="bob"))
    core.then_refused("unknown_agent")


def test_a_run_that_was_cut_short_teaches_how_usage_grows_and_not_what_a_run_uses_in_all(core: Core) -> None:
    core.given(use("ann", 100), use("ann", 300))
    growth = Growth.read(core.account("ann").growth).numbers()
    run = p.RecordRun(agent="ann", steps=2, consumed=Amounts(400, 0, 0), elapsed_ms=9, growth=growth, exhausted=True)
    core.given(*[run] * 4)
    known = core.ledger.history.known(None, None)
    assert not list(known.runs())
    assert known.line(0) is not None
