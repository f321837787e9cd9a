"""A forecast of a kind without scores is as uncertain as those of other new kinds turned out to be, and says so."""

from math import sqrt

import pytest

from tallystick.actors.policies.forecasting.exhaustion import Exhaustion, foresee
from tallystick.actors.policies.forecasting.growth_forecast import LINEAR_GROWTH, Course
from tallystick.actors.policies.forecasting.intervals import raised
from tallystick.config.amounts import TOKENS
from tallystick.events import catalog as e
from tallystick.events.catalog.forecasts import Outcome
from tallystick.events.state.history import SCORES_MIN, History

STEPS = Course(100.0, 0.0, 0.0, 0.0, 0.0, 900.0, 0.0, LINEAR_GROWTH)
"""A hundred tokens each, give or take thirty."""


def scored(left: float, *, kind: str, widened: float | None = 1.0) -> e.ForecastScored:
    """After five steps ten more were forecast, from 5 to 20; it was ``left`` steps."""
    forecast = Outcome(stage=5, step=5, predicted=15.0, low=10.0, high=25.0, baseline=99.0, widened=widened)
    return e.ForecastScored(
        agent="ann", agent_type=kind, model="m", dimension="tokens", actual=5 + left, forecasts=[forecast]
    )


def forecast_of_a_new_kind(*events: e.Event, kind: str = "new") -> Exhaustion:
    """After five steps, with half of the budget used."""
    history = History()
    for event in events:
        history.fold(event)
    return foresee(STEPS, history.known(kind, "m"), TOKENS, own=500, mark=1_000, steps=5)


def test_where_other_new_kinds_missed_the_interval_of_the_next_is_wider() -> None:
    usual = forecast_of_a_new_kind(*[scored(11.0, kind="held")] * 40)
    wider = forecast_of_a_new_kind(*[scored(40.0, kind="missed")] * 40)
    assert wider.predicted == usual.predicted
    assert wider.low < usual.low < usual.predicted < usual.high < wider.high


def test_the_record_says_to_which_power_the_interval_was_raised_and_that_confidence_was_not_measured() -> None:
    prediction = forecast_of_a_new_kind().prediction()
    assert prediction.widened == pytest.approx(sqrt(2), abs=1e-4)
    assert prediction.confidence is None


def test_scores_of_another_kind_are_neither_confidence_nor_an_interval() -> None:
    foreign = [scored(10.0, kind="old", widened=None)] * SCORES_MIN
    assert forecast_of_a_new_kind(*foreign).confidence is None
    assert forecast_of_a_new_kind(*foreign).widened is not None
    own = forecast_of_a_new_kind(*foreign, kind="old")
    assert own.confidence == 1
    assert own.widened is None
    assert own.prediction().widened is None


def test_an_interval_is_raised_by_its_ratios_to_the_estimate() -> None:
    assert raised(10.0, 5.0, 20.0, 2.0) == pytest.approx((2.5, 40.0))
    assert raised(10.0, 5.0, 20.0, 1.0) == pytest.approx((5.0, 20.0))
    assert raised(10.0, 2.5, 40.0, 0.5) == pytest.approx((5.0, 20.0))


def test_an_interval_without_width_gets_none_and_no_end_is_beyond_a_thousand_times_the_estimate() -> None:
    assert raised(10.0, 10.0, 10.0, 9.0) == (10.0, 10.0)
    low, high = raised(10.0, 1e-300, 1e300, 16.0)
    assert low >= 0
    assert high == pytest.approx(10_000.0)
