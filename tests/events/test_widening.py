"""How wide the intervals of a kind are that has no scores yet is learnt from those of kinds that were new before."""

from math import sqrt

import pytest

from tallystick.config.amounts import COST, TOKENS
from tallystick.events import catalog as e
from tallystick.events.catalog.forecasts import Outcome
from tallystick.events.state.history import RUNS_MIN, History
from tallystick.events.state.widening import needed
from tests.support.past_runs import learned

STEP, AHEAD = 10, 10.0
"""Forecast after ten steps: ten more, between five and twenty more."""


def outcome(widened: float | None = 1.0, *, reach: float = 2.0) -> Outcome:
    low, high = STEP + AHEAD / reach, STEP + AHEAD * reach
    return Outcome(stage=3, step=STEP, predicted=STEP + AHEAD, low=low, high=high, baseline=99.0, widened=widened)


def scored(left: float, *, kind: str = "old", widened: float | None = 1.0) -> e.ForecastScored:
    """The budget was used up ``left`` steps after the forecast."""
    return e.ForecastScored(
        agent="ann", agent_type=kind, model="m", dimension="tokens", actual=STEP + left, forecasts=[outcome(widened)]
    )


def taught(*events: e.Event) -> History:
    history = History()
    for event in events:
        history.fold(event)
    return history


def power(history: History, kind: str = "new", d: int = TOKENS) -> float:
    """As all kinds taught it, without what is added where few did."""
    known = history.known(kind, "m")
    return known.widening(d) / (1 if known.own is not None and known.own.has_own else few(history, kind))


def few(history: History, kind: str) -> float:
    return sqrt(1 + 1 / (sum(other != (kind, "m") for other, _ in history.kinds()) + 1))


@pytest.mark.parametrize(("left", "power"), [(20.0, 1.0), (40.0, 2.0), (5.0, 1.0), (2.5, 2.0), (200.0, 4.32193)])
def test_what_an_interval_lacked_is_counted_in_ratios_to_the_steps_that_were_forecast(
    left: float, power: float
) -> None:
    assert needed(outcome(), STEP + left) == pytest.approx(power, rel=1e-5)


def test_what_an_interval_lacked_does_not_depend_on_how_much_it_was_widened() -> None:
    widened = outcome(2.0, reach=4.0)
    assert needed(widened, STEP + 40.0) == pytest.approx(2.0)


def test_intervals_by_past_errors_and_steps_that_came_exactly_tell_nothing() -> None:
    assert needed(outcome(None), STEP + 40.0) is None
    assert needed(outcome(), STEP + AHEAD) is None


def test_the_fewer_kinds_taught_it_the_wider_an_interval_of_a_new_one() -> None:
    """The variance of what is forecast from a mean of n is 1 + 1 / n of one; the spread as it is counts as one more."""
    assert History().known("new", "m").widening(TOKENS) == pytest.approx(2**0.5)
    for count, wider in ((1, 1.5), (2, 4 / 3), (9, 1.1)):
        history = taught(*(scored(11.0, kind=f"kind-{n}", widened=None) for n in range(count)))
        assert history.known("new", "m").widening(TOKENS) == pytest.approx(wider**0.5)


def test_a_kind_with_a_few_runs_of_its_own_needs_no_other_kinds() -> None:
    run = learned([(1_000 + 10 * n, 1, 1) for n in range(10)])
    assert taught(*[run] * RUNS_MIN).known(run.agent_type, run.model).widening(TOKENS) == 1


def test_intervals_of_new_kinds_widen_where_those_of_other_kinds_missed_and_narrow_where_they_held() -> None:
    assert power(taught(*[scored(60.0)] * 20)) > 1.2
    assert power(taught(*[scored(11.0)] * 20)) < 1


def test_of_a_hundred_truths_eighty_lie_inside_in_the_long_run() -> None:
    """Four of five need a power of at most 1.5, so that is what is learnt."""
    needs = [(1.0, 0.5, 1.4, 1.5, 3.0)[n % 5] for n in range(2_000)]
    history = taught(*(scored(AHEAD * 2.0**need) for need in needs))
    assert power(history) == pytest.approx(1.5, rel=0.1)


def test_a_kind_whose_own_intervals_miss_more_than_others_is_widened_more() -> None:
    usual = [scored(18.0), scored(12.0)] * 20
    history = taught(*usual, *[scored(60.0, kind="wild")] * 9)
    assert power(history, "wild") > power(history, "new") > power(history, "old")


def test_runs_of_a_kind_that_has_a_few_are_not_confused_with_its_first_ones() -> None:
    """With runs of its own the spread is better known: its intervals held, those of new kinds did not."""
    steps = [(1_000 + 10 * n, 1, 1) for n in range(10)]
    run = learned(steps)
    kind = (run.agent_type, run.model)
    own = [scored(11.0, kind=str(kind[0]))] * 30
    first = [scored(60.0, kind="first")] * 20
    history = taught(*first, *[run] * RUNS_MIN, *own)
    assert power(history, "second") == pytest.approx(power(taught(*first), "second"))
    assert power(history, "second") > 1.2
    assert power(history, str(kind[0])) < 1


def test_dimensions_are_widened_apart_and_scores_by_past_errors_teach_nothing() -> None:
    assert power(taught(*[scored(60.0)] * 20), d=COST) == 1
    assert power(taught(*[scored(60.0, widened=None)] * 20)) == 1


def test_no_interval_grows_without_bound() -> None:
    assert power(taught(*[scored(1e9)] * 5_000), "old") <= 16.001
