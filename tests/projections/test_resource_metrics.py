"""What a day says about slots, waits, estimates and models, and what it advises: given a day, then these numbers."""

import datetime as dt
from typing import Any

import pytest

from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.projections.reports.quality_metrics import metrics_of
from tallystick.projections.reports.recommendation import Recommendation
from tallystick.projections.reports.resource_metrics import ResourceMetrics, plain, resource_metrics
from tallystick.projections.reports.resource_recommendations import resource_recommendations
from tests.support.core import Core, complete, start, submit
from tests.support.task_views import ALWAYS_OPUS, CATALOGUE, HOUR, one_slot, use_task, view_store_of, work

TWO = {"max_concurrent": {"total": 4, "per_type": {"frontend-engineer": None, "backend-engineer": 2}}}


def advised(core: Core, code: str) -> Recommendation | None:
    return next((advice for advice in resource_recommendations(work(core)) if advice.code == code), None)


def metrics(core: Core) -> ResourceMetrics:
    return resource_metrics(work(core))


# --- the metrics ------------------------------------------------------------------------------------------------------


def test_an_empty_day_has_numbers_for_nothing_but_its_limits() -> None:
    found = metrics(one_slot(**TWO).wait(HOUR))
    assert found.agent_utilization == {"backend-engineer": 0}
    assert found.cost_efficiency.cost_per_task is None
    assert found.queue_performance.avg_wait_time_minutes is None
    assert (found.queue_performance.max_wait_time_minutes, found.queue_performance.tasks_that_waited) == (0, None)
    assert found.recommendations == []


def test_a_task_that_cost_nothing_has_no_number_of_tasks_per_dollar() -> None:
    core = one_slot().given(submit("t"), c.CompleteTask(task="t", outcome="completed"))
    assert metrics(core).cost_efficiency.tasks_per_dollar is None


@pytest.mark.parametrize(
    ("value", "shown"), [(4.5, 4.5), (0.2222, 0.22), (18.0, 18), (0.0001234, 0.00012), (2499.999, 2500)]
)
def test_numbers_have_two_places_and_small_ones_two_digits(value: float, shown: float) -> None:
    assert plain(value) == shown


# --- slots ------------------------------------------------------------------------------------------------------------


def test_a_limit_that_is_half_used_is_too_high() -> None:
    core = one_slot(**TWO).given(submit("t")).wait(HOUR - 1)
    assert advised(core, "limit_too_high") is None, "a day that is younger than an hour says nothing"
    core.wait(1)
    core.given(complete("t")).wait(300)
    advice = advised(core, "limit_too_high")
    assert advice is not None
    assert advice.text == "Consider reducing the backend-engineer limit of 2 (underutilized: 46 % busy)"
    assert advice.numbers == {"agent_type": "backend-engineer", "limit": 2, "busy_percent": 46, "waited": 0}


def test_a_limit_is_not_too_high_where_tasks_waited_for_it() -> None:
    core = one_slot(**TWO).given(submit("t"), submit("u"), submit("v"), complete("t"), complete("u"), start("v"))
    assert advised(core.wait(2 * HOUR), "limit_too_high") is None


def test_a_type_without_a_limit_of_its_own_is_not_advised_about() -> None:
    core = one_slot().given(submit("t"), complete("t")).wait(2 * HOUR)
    assert resource_recommendations(work(core)) == []


def test_a_full_limit_for_which_tasks_wait_is_too_low() -> None:
    core = one_slot(**TWO).given(submit("t"), submit("u"), submit("v")).wait(2 * HOUR)
    advice = advised(core, "limit_too_low")
    assert advice is not None
    assert advice.text == "Consider raising the backend-engineer limit of 2 (100 % busy, 1 waited for it)"


def test_the_limit_on_all_tasks_may_be_what_they_wait_for() -> None:
    core = one_slot().given(submit("t"), submit("u"), submit("v", "qa-engineer")).wait(2 * HOUR)
    advice = advised(core, "total_too_low")
    assert advice is not None
    assert advice.numbers == {"limit": 1, "busy_percent": 100, "waited": 2}


# --- waits ------------------------------------------------------------------------------------------------------------


def test_waits_that_are_longer_than_allowed_are_reported_with_their_numbers() -> None:
    core = one_slot().given(submit("t"), submit("u", priority="high")).wait(20 * 60)
    acceptable = advised(core, "waits_acceptable")
    assert acceptable is not None
    assert acceptable.text == "Queue wait times acceptable (20 minutes on average, 20 at most)"
    advice = advised(core.given(p.RecordOverdue(task="u")), "waits_too_long")
    assert advice is not None
    assert advice.numbers == {"runs": 2, "waited": 1, "average_minutes": 20, "longest_minutes": 20, "overdue": 1}
    assert advised(core, "waits_acceptable") is None


# --- estimates and models ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("used", "words"), [(125, "25 % more"), (75, "25 % fewer"), (110, None), (90, None)])
def test_estimates_that_are_off_by_more_than_a_tenth_are_reported(used: int, words: str | None) -> None:
    core = one_slot()
    for number in range(5):
        assert advised(core, "estimates_off") is None, "four tasks are not enough"
        core.given(submit(f"t-{number}", estimated_tokens=100), complete(f"t-{number}", used=used))
    advice = advised(core, "estimates_off")
    if words is None:
        assert advice is None
    else:
        assert advice is not None
        assert advice.text == (
            f"Estimate backend-engineer at {used} tokens: 5 tasks took {words} than the 100 estimated"
        )


def priced(**config: Any) -> Core:
    core = one_slot(models=CATALOGUE, auto_model_selection=ALWAYS_OPUS, **config)
    return core.given(
        p.LoadPrices(prices={"opus-1": {"input": 15, "output": 75}, "haiku-1": {"input": 0.25, "output": 1.25}})
    )


def test_a_cheaper_model_is_named_with_what_it_would_have_saved() -> None:
    core = priced().given(submit("t"), use_task("t", 100_000))
    advice = advised(core, "cheaper_model")
    assert advice is not None
    # The seed's own comparison: 100K tokens for $1.50 on Opus and $0.025 on Haiku, $1.475 or 98 % less.
    assert advice.text == (
        "Consider haiku in place of opus for what is not critical: 1 task would have cost $0.03 for as many tokens,"
        " $1.48 (98%) less"
    )
    assert (advice.numbers["cost_usd"], advice.numbers["would_cost_usd"]) == ("1.50", "0.025")


def test_nothing_is_said_of_what_critical_tasks_cost_nor_of_a_model_that_is_the_cheapest() -> None:
    core = priced().given(submit("t", priority="critical"), use_task("t", 100_000))
    assert advised(core, "cheaper_model") is None
    core = priced().given(submit("t", model="haiku"), use_task("t", 100_000))
    assert advised(core, "cheaper_model") is None


# --- expected starts --------------------------------------------------------------------------------------------------


def test_expected_starts_are_scored_by_what_happened() -> None:
    core = one_slot().given(submit("first"))
    for number, minutes_off in enumerate((-5, 0, 6, 30)):
        told = core.now + dt.timedelta(minutes=10)
        core.given(submit(f"t-{number}", expected_start=told)).wait(600 + 60 * minutes_off)
        core.given(complete("first" if number == 0 else f"t-{number - 1}"), start(f"t-{number}"))
    core.given(submit("waits", expected_start=core.now))
    found = metrics_of(view_store_of(core)).expected_starts
    assert (found.told, found.scored, found.tolerance_minutes) == (5, 4, 5)
    assert (found.within, found.median_error_minutes) == (0.5, 5.5)


def test_without_a_start_that_was_forecast_nothing_is_scored() -> None:
    found = metrics_of(view_store_of(one_slot().given(submit("t")))).expected_starts
    assert (found.told, found.scored, found.within, found.median_error_minutes) == (0, 0, None, None)
