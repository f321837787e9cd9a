"""History learns from finished runs and scored forecasts alone, forgets by its bounds, and survives a restart."""

import json
import random

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tallystick.config.amounts import COST, TOKENS
from tallystick.events import catalog as e
from tallystick.events.state.history import (
    COST_ON_TOKENS,
    DRIFT,
    KINDS_MAX,
    LATER_COST,
    RUNS_MAX,
    RUNS_MIN,
    SCORES_MAX,
    SCORES_MIN,
    History,
    conformal,
    off_centre,
)
from tallystick.events.state.money import Money
from tests.support.past_runs import growing, learned, score, taught

# --- priors -----------------------------------------------------------------------------------------------------------


def test_without_history_there_is_no_prior() -> None:
    known = History().known("qa", "m")
    assert known.line(TOKENS) is None
    assert known.pace_ms() is None
    assert list(known.runs()) == []
    assert known.errors(TOKENS, 5) is None


def test_the_prior_approaches_what_the_runs_were_drawn_from() -> None:
    rng = random.Random(1)
    line = taught(*(learned(growing(rng, 5_000, 400, 30)) for _ in range(200))).known("qa", "m").line(TOKENS)
    assert line is not None
    assert line.level == pytest.approx(5_000, rel=0.05)
    assert line.growth == pytest.approx(400, rel=0.05)
    assert line.level_var**0.5 == pytest.approx(500, rel=0.4)
    assert line.growth_var**0.5 == pytest.approx(40, rel=0.4)
    assert line.noise**0.5 == pytest.approx(1_000, rel=0.1)


def test_newer_runs_outweigh_those_of_long_ago() -> None:
    rng = random.Random(1)
    old, new = (
        [learned(growing(rng, 5_000, 100, 10)) for _ in range(300)],
        [learned(growing(rng, 5_000, 900, 10)) for _ in range(900)],
    )
    line = taught(*old, *new).known("qa", "m").line(TOKENS)
    assert line is not None
    assert line.growth == pytest.approx(900, rel=0.1)


def test_cost_by_tokens_and_drift_are_learnt_too() -> None:
    steps = [(1_000 + 200 * i, 0, 3 * (1_000 + 200 * i)) for i in range(20)]
    known = taught(*[learned(steps)] * 5).known("qa", "m")
    price, drift = known.line(COST_ON_TOKENS), known.line(DRIFT)
    assert price is not None
    assert drift is not None
    assert price.growth == pytest.approx(3, rel=0.01)
    assert drift.level == pytest.approx(200, rel=0.01)


def test_the_cost_of_later_steps_is_learnt_without_that_of_the_first_ones() -> None:
    steps = [(20_000, 0, 900_000)] * 3 + [(1_000 + 200 * i, 0, 3 * (1_000 + 200 * i)) for i in range(20)]
    runs = [learned(steps)] * 5
    line = taught(*runs).known("qa", "m").line(LATER_COST)
    assert line is not None
    assert line.growth == pytest.approx(3, rel=0.01)
    older = [msgspec.structs.replace(one, head=[]) for one in runs]
    known = taught(*older).known("qa", "m")
    assert known.line(LATER_COST) is None, "a log from before they were kept"
    assert known.line(COST_ON_TOKENS) is not None


def test_what_later_steps_cost_is_not_borrowed_by_a_kind_whose_own_steps_are_known() -> None:
    steps = [(20_000, 0, 900_000)] * 3 + [(1_000 + 200 * i, 0, 3 * (1_000 + 200 * i)) for i in range(20)]
    others = [learned(steps, agent_type=f"type-{n}") for n in range(4) for _ in range(5)]
    short = [learned(steps[:3])] * 5
    assert taught(*others).known("qa", "m").line(LATER_COST) is not None, "nothing is known of its own"
    assert taught(*others, *short).known("qa", "m").line(LATER_COST) is None


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_of_one_step_teaches_what_it_can() -> None:
    known = taught(*[learned([(700, 0, 0)])] * 5).known("qa", "m")
    line = known.line(TOKENS)
    assert line is not None
    assert line.level + line.growth == pytest.approx(700)
    assert known.line(DRIFT) is None
    assert known.line(COST) is not None, "that it costs nothing is known"


def test_the_pace_is_that_of_the_remembered_runs() -> None:
    history = taught(*[learned([(1, 0, 0)] * 10, elapsed_ms=40_000)] * RUNS_MIN)
    assert history.known("qa", "m").pace_ms() == 4_000


# --- scores -----------------------------------------------------------------------------------------------------------


def test_confidence_is_the_measured_share_of_hits() -> None:
    hits, misses = [score(20.0, 21.0)] * 15, [score(20.0, 25.0)] * 5
    errors = taught(*hits, *misses).known("qa", "m").errors(TOKENS, 5)
    assert errors is not None
    assert errors.scored == 20
    assert errors.hits == 0.75
    assert errors.baseline_hits == 0
    assert errors.inside == 1


def test_a_stage_with_few_scores_says_nothing() -> None:
    history = taught(*[score(20.0, 21.0)] * (SCORES_MIN - 1))
    assert history.known("qa", "m").errors(TOKENS, 5) is None
    history.fold(score(20.0, 21.0))
    assert history.known("qa", "m").errors(TOKENS, 5) is not None
    assert history.known("qa", "m").errors(TOKENS, 6) is None
    assert history.known("qa", "m").errors(COST, 5) is None


def test_an_interval_is_of_the_steps_that_were_still_to_come() -> None:
    """Ten were forecast; from 9 to 13 came."""
    came = [9.0] * 4 + [10.0] * 30 + [13.0] * 6
    errors = taught(*(score(10 + left, 20.0) for left in came)).known("qa", "m").errors(TOKENS, 5)
    assert errors is not None
    assert errors.low == pytest.approx(0.9)
    assert errors.high == pytest.approx(1.3)


@pytest.mark.parametrize(("late", "early", "centre"), [(30, 10, 1.2), (10, 30, 0.9), (25, 15, 1.0), (20, 20, 1.0)])
def test_forecasts_that_are_early_more_often_than_chance_allows_are_put_in_the_middle(
    late: int, early: int, centre: float
) -> None:
    """Of 40 forecasts that are off at random, 20 give or take 3.2 are early; 30 are three times as far off."""
    scores = [score(22.0, 20.0)] * late + [score(19.0, 20.0)] * early
    errors = taught(*scores).known("qa", "m").errors(TOKENS, 5)
    assert errors is not None
    assert errors.centre == pytest.approx(centre)


def test_what_was_right_to_the_step_is_neither_early_nor_late() -> None:
    assert off_centre([1.0] * 90 + [1.5] * 8) == 1.0
    assert off_centre([1.5] * 9) == 1.5
    assert off_centre([1.5] * 8) == 1.0


def test_a_forecast_is_scored_as_it_was_before_it_was_put_in_the_middle() -> None:
    """Else the recentred forecasts would look right, nothing would be recentred any more, and so on in turns."""
    history = taught(*[score(22.0, 22.0, raw=20.0)] * SCORES_MAX)
    errors = history.known("qa", "m").errors(TOKENS, 5)
    assert errors is not None
    assert errors.centre == errors.low == errors.high == pytest.approx(1.2)
    assert errors.hits == errors.inside == 1, "confidence is about what was shown"


def test_a_forecast_that_nothing_is_left_is_scored_without_dividing_by_it() -> None:
    errors = taught(*[score(10.0, 10.0)] * SCORES_MIN).known("qa", "m").errors(TOKENS, 5)
    assert errors is not None
    assert errors.low == errors.high == 1


@given(st.lists(st.floats(0, 10), min_size=20, max_size=100))
def test_the_ends_leave_at_most_a_tenth_out_on_each_side(errors: list[float]) -> None:
    ordered = sorted(errors)
    low, high = conformal(ordered)
    assert sum(error < low for error in ordered) <= len(ordered) / 10
    assert sum(error > high for error in ordered) <= len(ordered) / 10


# --- bounds and restarts ----------------------------------------------------------------------------------------------


def test_the_least_recently_taught_kind_is_forgotten_first() -> None:
    history = History()
    for n in range(KINDS_MAX + 5):
        history.fold(learned([(n, 0, 0)] * 2, agent_type=f"type-{n}", model=None))
        history.fold(learned([(1, 0, 0)] * 2, agent_type="often", model=None))
    kinds = [kind for kind, _ in history.kinds()]
    assert len(kinds) == KINDS_MAX
    assert kinds[-1] == ("often", None)
    assert ("type-0", None) not in kinds
    assert (f"type-{KINDS_MAX + 4}", None) in kinds


def test_memory_is_bounded_however_much_was_learnt() -> None:
    history = taught(*[learned([(5, 5, 5)] * 3)] * (RUNS_MAX + 10), *[score(20.0, 21.0)] * (SCORES_MAX + 10))
    for _, kind in history.kinds():
        assert len(kind.runs) == RUNS_MAX
        assert all(len(scores.ring) == SCORES_MAX for scores in kind.scores.values())


def test_a_run_that_was_cut_short_is_kept_as_such() -> None:
    cut = msgspec.structs.replace(learned([(5, 5, 5)] * 3), exhausted=True)
    history = taught(*[learned([(1, 1, 1)] * 3)] * RUNS_MIN, cut)
    assert [one.ended for one in history.known("qa", "m").runs()] == [1, 1, 1, 0]


def test_runs_that_were_cut_short_do_not_make_a_kind_known() -> None:
    cut = msgspec.structs.replace(learned([(5, 5, 5)] * 3), exhausted=True)
    history = taught(*[learned([(1, 1, 1)] * 3)] * (RUNS_MIN - 1), *[cut] * 50)
    assert list(history.known("qa", "m").runs()) == []
    assert history.known("qa", "m").pace_ms() is None


def test_what_is_forgotten_counts_no_more() -> None:
    slow = learned([(1, 0, 0)] * 10, elapsed_ms=40_000)
    quick = learned([(1, 0, 0)] * 10, elapsed_ms=10_000)
    assert taught(*[slow] * 9, *[quick] * RUNS_MAX).known("qa", "m").pace_ms() == 1_000


def test_a_history_that_is_loaded_again_goes_on_like_the_one_that_was_dumped() -> None:
    rng = random.Random(2)
    history = taught(
        *(learned(growing(rng, 5_000, 400, 9), elapsed_ms=rng.randrange(9_999)) for _ in range(30)),
        *(score(20.0 + rng.random(), 21.0) for _ in range(30)),
        *(score(20.0 + rng.random(), 21.0, agent_type="new", widened=1.5) for _ in range(30)),
    )
    again = History.load(json.loads(json.dumps(history.dump())))
    assert again.dump() == history.dump()
    for event in (learned(growing(rng, 5_000, 400, 9)), score(22.0, 21.0)):
        again.fold(event)
        history.fold(event)
    assert again.dump() == history.dump()
    one, other = history.known("qa", "m"), again.known("qa", "m")
    assert one.line(TOKENS) == other.line(TOKENS)
    assert one.errors(TOKENS, 5) == other.errors(TOKENS, 5)
    assert one.pace_ms() == other.pace_ms()
    assert history.known("new", "m").widening(TOKENS) == again.known("new", "m").widening(TOKENS) != 1


def test_other_events_teach_nothing() -> None:
    history = taught(e.UsageReported(agent="ann", tokens=5), e.Rebalanced(moves=1))
    assert history.dump() == History().dump()


MOST = 2**63 - 1
moneys = st.tuples(*[st.integers(0, MOST)] * 3)
LARGEST = 1e80
"""Where a cost by tokens was learnt from few tokens, and tokens then are the most that there can be, the noise about it
is near the fourth power of that: 7e75."""


@example([[(1, 0, MOST), (2, 0, 0)] * 2, [(MOST, 0, 1), (1, 0, MOST)]])
@given(st.lists(st.lists(moneys, min_size=1, max_size=5), min_size=1, max_size=12))
def test_whatever_the_runs_used_the_prior_is_finite_and_no_variance_negative(runs: list[list[Money]]) -> None:
    history = taught(*(learned(steps) for steps in runs))
    for _, kind in history.kinds():
        for prior in kind.priors:
            line = prior.line
            assert all(abs(number) < LARGEST for number in msgspec.structs.astuple(line)), line
            assert min(line.level_var, line.growth_var, line.noise) >= 0
            assert line.covar**2 <= line.level_var * line.growth_var * (1 + 1e-6) + 1e-300
