"""The circuit breaker and manual overrides (spec 3, "Cost control"): when it trips, what it refuses, who closes it."""

import datetime as dt
from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tests.support.core import Core, allocate, budget, complete, fleet, hold, start, submit, use

QUIET: dict[str, Any] = {"enforcement": {"throttle_at": 1, "degrade_at": 1}, "minimum_share_percent": 0}
SEED = "cost_daily_usd > daily_limits.max_cost_usd"
MIDNIGHT = dt.datetime(2026, 3, 5, tzinfo=dt.UTC)


def configured(*conditions: str, **config: Any) -> Core:
    """A fleet whose breaker has these conditions, and plenty of everything else."""
    when = {"when_tripped": config.pop("when_tripped")} if "when_tripped" in config else {}
    breaker = {"trip_conditions": list(conditions or (SEED,)), **when}
    return Core(fleet(100_000_000, "10000", **QUIET, **{"circuit_breaker": breaker, **config}))


def trips(core: Core) -> list[e.BreakerTripped]:
    return core.every(e.BreakerTripped)


# --- when it trips ----------------------------------------------------------------------------------------------------


def test_the_seeds_breaker_trips_above_the_limit_in_the_transaction_of_the_usage() -> None:
    core = configured(notifications={"ceo": ["json://boss/hook"], "ops": ["json://ops/hook"]})
    core.given(use("ann", 10, "100"))
    assert trips(core) == [], "at exactly the limit the daily limit queues"
    core.given(use("ann", 10, "1.20"))
    core.then_events(e.UsageReported, e.BreakerTripped, e.AlertRaised)
    tripped, alert = core.only(e.BreakerTripped), core.only(e.AlertRaised)
    assert (tripped.condition, tripped.action, tripped.id) == (SEED, "pause_all", core.only(e.UsageReported).id)
    assert tripped.because == "cost_daily_usd 101.20 > daily_limits.max_cost_usd 100"
    assert tripped.numbers == {"cost_daily_usd": "101.20", "daily_limits.max_cost_usd": "100"}
    assert (alert.code, alert.notify) == ("breaker_tripped", ["ceo"])
    waiting = [notice.code for notice in core.ledger.outbox.values()]
    assert waiting == ["daily_cost_near", "daily_cost_reached", "breaker_tripped"]
    assert alert.message == "new work is paused: cost_daily_usd 101.20 > daily_limits.max_cost_usd 100"
    core.given(use("ann", 10, "50"))
    core.then_events(e.UsageReported)


@pytest.mark.parametrize(
    ("condition", "before", "after"),
    [
        ("tokens_daily >= 500", [use("ann", 499)], use("ann", 1)),
        ("tokens_daily == 500", [use("ann", 499)], use("ann", 1)),
        ("cost_daily_usd in [3, 5]", [use("ann", 1, "4")], use("ann", 1, "1")),
        ("tokens_hourly > 500", [use("ann", 500)], use("ann", 1)),
        ("cost_hourly_usd > 1.5", [use("ann", 1, "1.5")], use("ann", 1, "0.000000001")),
        ("pressure >= 0.000004", [use("ann", 399)], use("ann", 1)),
        ("pressure >= 0.000004", [allocate("ann", 900), hold("ann", "h", 399)], hold("ann", "i", 1)),
        ("agents_active >= 2", [submit("a")], submit("b")),
        ("queue_length > 0", [submit("a"), submit("b")], submit("c")),
        ("queue_length > 0 and tokens_daily > 5", [submit("a"), submit("b"), submit("c")], use("ann", 6)),
        ("not tokens_daily <= 500", [use("ann", 500)], use("ann", 1)),
        ("tokens_daily > queue_length", [submit("a")], use("ann", 1)),
        ("tokens_daily > token_budgets.architect", [use("ann", 150_000)], use("ann", 1)),
    ],
)
def test_each_fact_trips_it_at_its_line_exactly(condition: str, before: list[c.Command], after: c.Command) -> None:
    core = configured(condition)
    for command in before:
        core.given(command)
        assert trips(core) == []
    core.given(after)
    assert [event.condition for event in trips(core)] == [condition]


def test_an_hour_is_the_last_60_minutes() -> None:
    core = configured("tokens_hourly > 500")
    core.given(use("ann", 400)).wait(30 * 60).given(use("ann", 100)).wait(31 * 60).given(use("ann", 400))
    assert trips(core) == [], "the first 400 are more than an hour old"
    core.given(use("ann", 1))
    assert trips(core)[0].numbers == {"tokens_hourly": 501}


def test_what_the_clock_does_trips_it_too() -> None:
    core = configured("queue_length > 0")
    core.given(submit("a")).wait(121).given(use("ann", 1))
    assert [type(event) for event in core.due] == [e.LeaseLost, e.BudgetReleased, e.BreakerTripped, e.AlertRaised]


def test_a_configuration_whose_condition_holds_trips_it() -> None:
    core = configured("tokens_daily > 500")
    core.given(use("ann", 300))
    core.given(fleet(100_000_000, "10000", **QUIET, circuit_breaker={"trip_conditions": ["tokens_daily > 200"]}))
    assert trips(core)[0].because == "tokens_daily 300 > 200"


def test_the_first_of_several_conditions_is_the_one_that_is_named() -> None:
    core = configured("tokens_daily > 900", "tokens_daily > 500", "tokens_daily > 400")
    core.given(use("ann", 600))
    assert [event.condition for event in trips(core)] == ["tokens_daily > 500"]


# --- what it refuses --------------------------------------------------------------------------------------------------


def test_an_open_breaker_refuses_new_allocations_and_admissions_and_what_runs_goes_on() -> None:
    core = configured(daily_limits={"max_tokens_total": None})
    core.given(allocate("ann", 500), allocate("zoe", 100), submit("a"), use("ann", 10, "101"))
    for command in (
        allocate("bob", 10),
        allocate("zoe/1", 10, parent="zoe"),
        c.AllocateEqual(agents=["bob"], total=budget(10)),
        c.AllocateFromPool(agent="bob", request=budget(10)),
    ):
        core.when(command)
        core.then_refused("breaker_open", condition=SEED)
    reason = core.when(submit("b")).reason
    assert (reason.code, reason.message) == ("breaker_open", f"the circuit breaker is open: {SEED}")
    assert core.when(start("b")).code == "breaker_open"
    core.given(use("a", 10), c.Heartbeat(task="a"), c.BorrowFromPool(agent="ann", amount=budget(10)), complete("a"))
    core.when(allocate("dee", 10))
    core.then_refused("breaker_open")


# --- who closes it ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("daily_limits", "closes"),
    [
        ({"max_cost_usd": 200}, True),
        ({"max_cost_usd": "101"}, True),
        ({"max_cost_usd": "100.999999999"}, False),
        ({"max_cost_usd": None}, True),
        ({"alert_at_percent": 90}, False),
    ],
)
def test_a_limit_that_the_file_raises_closes_it_where_no_condition_holds_any_more(
    daily_limits: dict[str, Any], closes: bool
) -> None:
    core = configured(daily_limits={"max_tokens_total": None})
    core.given(use("ann", 10, "101"), c.LoadConfig(config={"daily_limits": daily_limits}))
    assert (e.BreakerClosed in map(type, core.own)) is closes
    assert (core.ledger.day.tripped is None) is closes


def test_the_file_closes_none_that_only_the_next_day_may_close() -> None:
    core = configured(circuit_breaker={"when_tripped": {"allow_override": False}})
    core.given(use("ann", 10, "101"), c.LoadConfig(config={"daily_limits": {"max_cost_usd": 500}}))
    assert core.ledger.day.tripped is not None


def test_another_condition_that_still_holds_keeps_it_open_whatever_the_file_raises() -> None:
    core = configured(circuit_breaker={"trip_conditions": [SEED, "tokens_daily > 5"]})
    core.given(use("ann", 10, "101"), c.LoadConfig(config={"daily_limits": {"max_cost_usd": 500}}))
    assert core.ledger.day.tripped is not None
    core.given(c.LoadConfig(config={"circuit_breaker": {"trip_conditions": ["tokens_daily > 50"]}}))
    assert core.ledger.day.tripped is None


def test_a_higher_limit_for_today_closes_it_and_lets_the_rest_run() -> None:
    core = configured()
    core.given(submit("a"), submit("b"), use("a", 10, "101"))
    core.given(submit("c"))
    answer = core.when(c.ApproveLimit(max_cost_usd="150"), by="ceo")
    core.then_events(e.LimitApproved, e.BreakerClosed)
    assert core.only(e.LimitApproved).by == "ceo"
    assert (answer.breaker, answer.limits.cost_usd, answer.used.cost_usd) == (None, "150.00", "101.00")
    core.given(complete("b"), start("c"))
    core.given(use("a", 10, "49"))
    assert trips(core) == []
    core.given(use("a", 10, "0.01"))
    assert trips(core)[0].because == "cost_daily_usd 150.01 > daily_limits.max_cost_usd 150.00"


def test_a_limit_that_is_still_too_low_leaves_it_open() -> None:
    core = configured()
    core.given(use("ann", 10, "160"))
    answer = core.when(c.ApproveLimit(max_cost_usd="150"))
    core.then_events(e.LimitApproved)
    assert answer.breaker == SEED
    core.given(c.ApproveLimit(max_cost_usd="160"))
    core.then_events(e.LimitApproved, e.BreakerClosed)


def test_an_approval_is_for_today_and_may_be_corrected_but_not_below_what_is_configured() -> None:
    core = configured()
    core.given(c.ApproveLimit(max_cost_usd="900"), c.ApproveLimit(max_tokens_total=3_000_000))
    answer = core.when(c.ApproveLimit(max_cost_usd="150"))
    assert (answer.limits.cost_usd, answer.limits.tokens) == ("150.00", 3_000_000)
    core.when(c.ApproveLimit(max_cost_usd="100"))
    core.then_refused("limit_not_raised", requested="100", limit="100.00")
    core.when(c.ApproveLimit())
    core.then_refused("invalid_amount")
    core.now = MIDNIGHT
    core.given(use("ann", 1, "101"))
    assert len(trips(core)) == 1
    core.given(fleet(100_000_000, **QUIET, daily_limits={"max_tokens_total": None}))
    core.when(c.ApproveLimit(max_tokens_total=5))
    core.then_refused("limit_not_raised", limit=None)


def test_a_reset_silences_what_still_holds_for_the_rest_of_the_day_and_nothing_else() -> None:
    core = configured(SEED, "tokens_daily > 500")
    core.when(c.ResetBreaker(reason="a test"))
    core.then_refused("breaker_not_open")
    core.given(use("ann", 10, "101"))
    answer = core.when(c.ResetBreaker(reason="the demo is today"), by="ceo")
    core.then_events(e.BreakerReset, e.BreakerClosed)
    assert (core.only(e.BreakerReset).reason, core.only(e.BreakerClosed).silenced) == ("the demo is today", [SEED])
    assert (answer.breaker, answer.silenced) == (None, [SEED])
    core.given(use("ann", 10, "101"))
    assert trips(core) == []
    core.given(use("ann", 490))
    assert [event.condition for event in trips(core)] == ["tokens_daily > 500"]
    core.now = MIDNIGHT
    core.given(allocate("bob", 10), use("ann", 10, "101"))
    assert [event.condition for event in trips(core)] == [SEED]


def test_the_next_day_closes_it_and_looks_anew() -> None:
    core = configured("pressure > 0.5", SEED)
    core.given(use("ann", 10, "101"))
    core.now = MIDNIGHT
    core.given(allocate("bob", 10))
    core.given(use("ann", 60_000_000))
    assert [event.condition for event in trips(core)] == ["pressure > 0.5"]
    core.now = MIDNIGHT + dt.timedelta(days=1)
    core.when(allocate("cyd", 10))
    core.then_refused("breaker_open", condition="pressure > 0.5")
    assert [type(event) for event in core.due] == [e.DayBegan, e.BreakerTripped, e.AlertRaised]


def test_where_no_override_is_allowed_only_the_next_day_closes_it() -> None:
    core = configured(when_tripped={"allow_override": False})
    core.given(use("ann", 10, "101"))
    for command in (c.ApproveLimit(max_cost_usd="500"), c.ResetBreaker(reason="please")):
        core.when(command)
        core.then_refused("not_permitted")
    core.pass_time().wait(12 * 3_600).given(allocate("bob", 10))


# --- priorities -------------------------------------------------------------------------------------------------------


def test_an_operators_word_on_a_product_beats_the_file_and_its_tasks_until_it_is_taken_back() -> None:
    core = configured(
        products={"shop": {"priority": "high"}},
        manual_override={"priority_override": {"shop": "low"}},
        max_concurrent={"total": 1},
    )
    core.given(submit("a", product="lab"), submit("b"), submit("c", priority="high"))

    def levels() -> list[str]:
        queue = core.when(p.TellQueue(waiting=[p.QueueView(task, 0, 0, 0, 0, False) for task in ("b", "c")]))
        return [task.priority for task in queue.tasks]

    assert levels() == ["low", "low"]
    answer = core.when(c.OverridePriority(product="shop", priority="critical", reason="a customer waits"), by="ceo")
    overridden = core.only(e.PriorityOverridden)
    assert (overridden.by, overridden.reason, answer.priority) == ("ceo", "a customer waits", "critical")
    assert levels() == ["critical", "critical"]
    core.given(p.LoadPrices(prices={}))
    assert levels() == ["critical", "critical"]
    answer = core.when(c.OverridePriority(product="shop", priority=None))
    assert (answer.priority, levels()) == ("low", ["low", "low"])


def test_a_configuration_that_is_loaded_later_leaves_the_operators_word_in_force() -> None:
    core = configured()
    core.given(c.OverridePriority(product="shop", priority="critical"))
    core.given(fleet(100_000_000, **QUIET, manual_override={"priority_override": {"shop": "low", "lab": "high"}}))
    assert core.ledger.rules.config.manual_override.priority_override == {"shop": "critical", "lab": "high"}
    core.when(c.OverridePriority(product="bell\a", priority="low"))
    core.then_refused("invalid_message")
