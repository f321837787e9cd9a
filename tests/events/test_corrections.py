"""Corrections: a record counts as what it should have said, on the day and in the period where it was recorded."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tests.support.core import Core, allocate, complete, fleet, hold, settle, submit, tokens, use
from tests.support.corrections import asked, correction, records

DAY = dt.timedelta(days=1)


def next_day(core: Core) -> Core:
    core.now += DAY
    return core


# --- an open account --------------------------------------------------------------------------------------------------


def test_what_is_taken_back_is_free_again_and_counts_no_more_today() -> None:
    core = Core(fleet(10_000), allocate("a", 1_000, product="A"), use("a", 600))
    core.given(correction(core, records(core)[-1], 100))
    event = core.only(e.UsageCorrected)
    assert (event.counted.tokens, event.counts.tokens, event.tokens) == (600, 100, -500)
    assert core.status("a").consumed == tokens(100)
    assert core.status("a").remaining == tokens(900)
    assert core.ledger.used_today[0] == core.ledger.day.by_product["A"] == 100


def test_what_is_added_is_covered_like_use() -> None:
    core = Core(fleet(10_000), allocate("a", 1_000), use("a", 600))
    core.given(correction(core, records(core)[-1], 1_500))
    assert core.only(e.Covered).amount.tokens == 500
    assert core.status("a").consumed == tokens(1_500)
    core.given(correction(core, records(core)[-1], 600))
    assert core.pool[0] == 9_000
    assert core.status("a").consumed == tokens(600)


def test_a_settlement_is_corrected_as_a_report_is() -> None:
    core = Core(fleet(10_000), allocate("a", 1_000), hold("a", "h", 500), settle("h", 400))
    core.given(correction(core, records(core)[-1], 50))
    assert core.status("a").consumed == tokens(50)
    assert core.ledger.ended_holds["h"].booked == (50, 0, 0)


def test_a_part_of_a_settlement_is_corrected_while_the_rest_stays_held() -> None:
    core = Core(fleet(10_000), allocate("a", 1_000), hold("a", "h", 500))
    core.given(c.Settle(hold="h", usage=Usage(tokens=200), final=False))
    part = records(core)[-1]
    core.given(correction(core, part, 20))
    assert (core.ledger.holds["h"].booked, core.ledger.holds["h"].amount) == ((20, 0, 0), (300, 0, 0))
    assert (core.status("a").consumed, core.status("a").held) == (tokens(20), tokens(300))
    core.given(settle("h", 100), correction(core, part, 30))
    assert core.status("a").consumed == tokens(130)


def test_the_last_of_several_corrections_counts() -> None:
    core = Core(fleet(10_000), allocate("a", 1_000), use("a", 600))
    (record,) = records(core)
    core.given(correction(core, record, 100))
    core.given(correction(core, record, 300))
    assert core.only(e.UsageCorrected).counted.tokens == 100
    assert core.status("a").consumed == tokens(300)


def test_levels_and_the_fleets_response_follow_down_as_they_do_up() -> None:
    core = Core(fleet(1_000), allocate("a", 900), use("a", 900))
    assert core.status("a").status == "black"
    assert core.ledger.response
    core.given(correction(core, records(core)[-1], 10))
    assert core.status("a").status == "green"
    assert not core.ledger.response
    assert core.check("a").action == "continue"


# --- days and periods -------------------------------------------------------------------------------------------------


def test_a_record_of_a_former_day_counts_on_that_day() -> None:
    core = Core(fleet(10_000), allocate("a", 1_000, product="A"), use("a", 600))
    next_day(core).given(use("a", 10))
    core.given(correction(core, records(core)[0], 100))
    assert core.only(e.UsageCorrected).day == "2026-03-04"
    assert core.ledger.used_today[0] == core.ledger.day.by_product["A"] == 10
    assert core.status("a").consumed == tokens(110)


@pytest.mark.parametrize("used", [0, 100, 900, 5_000])
def test_a_record_of_a_closed_period_gives_todays_pool_nothing(used: int) -> None:
    core = Core(fleet(10_000, period="day"), use("stray", 600))
    next_day(core).given(use("stray", 10))
    pool = core.pool[0]
    core.given(correction(core, records(core)[0], used))
    assert core.only(e.UsageCorrected).closed_period
    assert (core.pool[0], core.ledger.consumed[0], core.ledger.total[0]) == (pool, 10, 10_000)


@pytest.mark.parametrize("used", [0, 100, 900, 5_000, 30_000])
def test_of_an_open_account_a_closed_period_is_corrected_as_if_it_had_been_recorded_so(used: int) -> None:
    def played(first: int) -> Core:
        core = Core(fleet(10_000, period="day"), allocate("a", 6_000), use("a", first))
        return next_day(core).given(use("a", 1))

    core, other = played(600), played(used)
    core.given(correction(core, records(core)[0], used))
    assert core.status("a").consumed == other.status("a").consumed == tokens(used + 1)
    assert (core.ledger.consumed, core.ledger.total) == (other.ledger.consumed, other.ledger.total)
    if used <= 6_000:
        assert core.pool == other.pool
        assert core.status("a").remaining == other.status("a").remaining


def test_a_day_that_is_under_its_limit_again_grants_holds_again_and_closes_the_breaker() -> None:
    limits = {"daily_limits": {"max_tokens_total": 1_000}}
    tripping = {"circuit_breaker": {"trip_conditions": ["tokens_daily > daily_limits.max_tokens_total"]}}
    core = Core(fleet(10_000, **limits, **tripping), allocate("a", 5_000), use("a", 1_200))
    assert core.ledger.day.tripped is not None
    core.when(hold("a", "h", 10))
    core.then_refused("daily_limit_reached")
    core.given(correction(core, records(core)[-1], 900))
    assert core.every(e.BreakerClosed)
    core.given(hold("a", "h-2", 10))
    core.given(correction(core, records(core)[-1], 1_001))
    assert core.every(e.BreakerTripped)


def test_a_correction_of_something_else_leaves_the_breaker_open() -> None:
    limits = {"daily_limits": {"max_tokens_total": 1_000}}
    tripping = {"circuit_breaker": {"trip_conditions": ["tokens_daily > daily_limits.max_tokens_total"]}}
    core = Core(fleet(10_000, **limits, **tripping), allocate("a", 5_000), use("a", 100), use("a", 1_200))
    core.given(correction(core, records(core)[0], 50))
    assert core.ledger.day.tripped is not None


# --- closed lives -----------------------------------------------------------------------------------------------------


def below(*steps: Any) -> Core:
    """A parent with a sub-agent that has used 600 and was released."""
    core = Core(fleet(10_000), allocate("p", 5_000, product="P"), allocate("a", 1_000, parent="p", agent_type="qa"))
    return core.given(use("p", 7), use("a", 600), c.ReleaseBudget(agent="a"), *steps)


@pytest.mark.parametrize("used", [0, 100, 900, 9_000])
def test_a_released_account_is_charged_up_its_old_parent(used: int) -> None:
    core = below()
    core.given(correction(core, records(core)[1], used))
    event = core.only(e.UsageCorrected)
    assert (event.charged, event.closed, event.product, event.agent_type) == ("p", "a", "P", "qa")
    assert core.status("p").consumed == tokens(7 + used)
    assert core.account("p").spent[0] == 7, "what others used is no use of its own"
    assert core.ledger.day.by_product["P"] == 7 + used


def test_another_account_under_the_same_id_is_not_charged() -> None:
    core = below(allocate("a", 300))
    core.given(correction(core, records(core)[1], 100))
    assert core.status("a").consumed == tokens(0)
    assert core.status("p").consumed == tokens(107)


def test_of_a_whole_branch_that_is_released_the_nearest_open_account_pays() -> None:
    core = Core(fleet(10_000, "10"), allocate("g", 5_000, "5"), allocate("p", 3_000, parent="g"))
    core.given(allocate("a", cost="1", parent="p"), use("a", 600, "0.5"))
    core.given(c.ReleaseBudget(agent="p"))
    core.given(asked(core, records(core)[0].position, usage=Usage(tokens=100, cost_usd=Decimal("0.25"))))
    assert core.only(e.UsageCorrected).charged == "g"
    assert (core.account("g").closed, core.account("g").spent) == ((100, 0, 250_000_000), (0, 0, 0))
    core.given(c.ReleaseBudget(agent="g"))
    core.given(asked(core, records(core)[0].position, usage=Usage(tokens=900)))
    assert core.only(e.UsageCorrected).charged is None
    assert core.ledger.spent[0] == 900


def test_a_late_report_and_one_without_an_account_are_corrected_where_they_were_charged() -> None:
    core = below(use("a", 30), use("stray", 50))
    late, stray = records(core)[2:]
    core.given(correction(core, late, 3))
    assert core.status("p").consumed == tokens(7 + 600 + 3)
    core.given(correction(core, stray, 5))
    assert core.ledger.spent[0] == 7 + 600 + 3 + 5
    assert core.ledger.day.by_product["P"] == 7 + 600 + 3
    core.given(c.ReleaseBudget(agent="p"))
    core.given(correction(core, late, 0))
    assert core.only(e.UsageCorrected).closed == "p"
    assert core.ledger.spent[0] == 7 + 600 + 5


def test_an_account_that_the_state_has_forgotten_is_found_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.events.state.ledger.LATE_KEPT", 0)
    core = below()
    for _ in range(3):
        next_day(core).given(use("p", 1))
    assert not core.ledger.lives
    core.given(correction(core, records(core)[1], 100))
    event = core.only(e.UsageCorrected)
    assert (event.charged, event.product, event.agent_type, event.day) == ("p", "P", "qa", "2026-03-04")
    assert core.status("p").consumed == tokens(7 + 3 + 100)


def test_what_a_run_of_a_task_used_is_corrected_while_it_runs_and_after_it() -> None:
    core = Core(fleet(10_000, token_budgets={"default": 400, "backend-engineer": 400})).given(submit("t"))
    core.given(c.ReportUsage(task="t", usage=Usage(tokens=300)))
    core.given(correction(core, records(core)[0], 30))
    assert core.ledger.commitments.runs["t"].spent == 30
    core.given(complete("t"), correction(core, records(core)[0], 60))
    event = core.only(e.UsageCorrected)
    assert (event.run, event.product, event.closed) == ("t", "shop", "t")
    assert core.ledger.used_today[0] == core.ledger.day.by_product["shop"] == 60


# --- prices -----------------------------------------------------------------------------------------------------------


def priced(**named: Any) -> tuple[Core, int]:
    """A fleet in which an agent has used opus; the position of its report."""
    core = Core(fleet(cost="1000"), allocate("a", cost="500"))
    core.given(c.ReportUsage(agent="a", **named))
    return core, records(core)[-1].position


def cost_of(model: str, **named: Any) -> int:
    return records(priced(model=model, **named)[0])[-1].cost_nanos


def test_other_tokens_of_a_priced_report_cost_what_they_would_have_in_the_same_parts() -> None:
    core, position = priced(model="claude-opus-4-5", input_tokens=8_000, output_tokens=2_000)
    core.given(asked(core, position, usage=Usage(tokens=1_000)))
    after = core.only(e.UsageCorrected).counts
    assert (after.input_tokens, after.output_tokens) == (800, 200)
    assert after.cost_nanos == cost_of("claude-opus-4-5", input_tokens=800, output_tokens=200)


def test_a_cost_that_was_reported_stays_until_one_is_named() -> None:
    core, position = priced(model="claude-opus-4-5", usage=Usage(tokens=1_000, cost_usd=Decimal(3)))
    core.given(asked(core, position, usage=Usage(tokens=500)))
    assert core.only(e.UsageCorrected).counts.cost_nanos == 3 * 10**9
    core.given(asked(core, position, usage=Usage(cost_usd=Decimal(1))))
    assert core.only(e.UsageCorrected).counts.units == (500, 0, 10**9)


def test_usage_of_a_model_without_a_price_is_priced_anew_by_the_model_and_the_kinds_that_a_correction_names() -> None:
    core, position = priced(model="claude-opus-4-5-typo-x", input_tokens=8_000, output_tokens=2_000)
    assert records(core)[-1].unpriced
    core.given(asked(core, position, model="claude-haiku-4-5"))
    event = core.only(e.UsageCorrected)
    assert (event.model, event.model_after) == ("claude-opus-4-5-typo-x", "claude-haiku-4-5")
    assert event.counts.cost_nanos == cost_of("claude-haiku-4-5", input_tokens=8_000, output_tokens=2_000)
    core.given(asked(core, position, input_tokens=100, output_tokens=10, cached_tokens=50))
    event = core.only(e.UsageCorrected)
    assert event.counts.tokens == 110
    assert event.counts.cost_nanos == cost_of("claude-haiku-4-5", input_tokens=100, output_tokens=10, cached_tokens=50)


def test_a_correction_to_a_model_without_a_price_raises_the_alert_that_a_report_would() -> None:
    core, position = priced(model="claude-opus-4-5", input_tokens=8_000)
    core.given(asked(core, position, model="never-heard-of-1"))
    assert core.only(e.AlertRaised).code == "unpriced_model"
    assert "never-heard-of-1" in core.ledger.unpriced


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_what_is_no_usage_is_refused_by_name_and_the_refusal_is_kept() -> None:
    core = Core(fleet(10_000), allocate("a", 1_000), use("a", 600))
    core.when(asked(core, 1, usage=Usage(tokens=1)))
    core.then_refused("not_usage", position=1, found="config-loaded.v1")
    assert core.only(e.RequestRefused).request == "CorrectUsage"
    core.when(asked(core, 999, usage=Usage(tokens=1)))
    core.then_refused("unknown_position", position=999)
    core.when(correction(core, records(core)[-1], 600))
    core.then_refused("nothing_to_correct")
    core.given(correction(core, records(core)[-1], 500))
    core.when(asked(core, core.only(e.UsageCorrected).position, usage=Usage(tokens=1)))
    core.then_refused("not_usage", found="usage-corrected.v1")


@pytest.mark.parametrize(
    ("named", "field"),
    [
        ({}, "usage"),
        ({"usage": Usage()}, "usage"),
        ({"usage": Usage(tokens=-1)}, "usage.tokens"),
        ({"usage": Usage(tokens=2**63)}, "usage.tokens"),
        ({"input_tokens": 5, "cached_tokens": 6}, "cached_tokens"),
        ({"requests": -1}, "requests"),
    ],
)
def test_a_malformed_amount_is_refused_by_its_field_and_not_remembered(named: dict[str, Any], field: str) -> None:
    core = Core(fleet(10_000), allocate("a", 1_000), use("a", 600))
    core.when(asked(core, records(core)[0].position, **named))
    core.then_refused("invalid_amount", field=field)
    assert not core.own


# --- any sequence -----------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=6), st.booleans(), st.booleans())
def test_back_and_forth_nothing_has_happened(figures: list[int], later: bool, released: bool) -> None:
    core = Core(fleet(10_000, period="day"), allocate("p", 2_000, product="A"), allocate("a", 1_000, parent="p"))
    core.given(use("a", 600))
    (record,) = records(core)
    if released:
        core.given(c.ReleaseBudget(agent="a"))
    if later:
        next_day(core).given(use("p", 1))
    before = (core.status("p").consumed, core.pool, core.ledger.used_today, core.ledger.total, core.ledger.consumed)
    last = 600
    for used in [*figures, 600]:
        if used != last:
            core.given(correction(core, record, used))
        last = used
    after = (core.status("p").consumed, core.pool, core.ledger.used_today, core.ledger.total, core.ledger.consumed)
    assert after == before
    loaded = snapshot.load(snapshot.dump(core.ledger))
    assert loaded is not None
    assert (loaded.corrections, loaded.period_began) == (core.ledger.corrections, core.ledger.period_began)
    assert loaded.day.began == core.ledger.day.began
