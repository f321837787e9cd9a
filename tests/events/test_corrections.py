"""Corrections: a record counts as what it should have said, on the day and in the period where it was recorded."""

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Amounts, Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tallystick.events.messages import proposals as p
from tests.support.core import START, Core, allocate, fleet, hold, settle, tokens, use

DAY = dt.timedelta(days=1)


def recorded(core: Core) -> "e.UsageReported | e.HoldSettled":
    """The newest record of usage."""
    found = [event for event in core.log if isinstance(event, e.UsageReported | e.HoldSettled)]
    return found[-1]


def next_day(core: Core) -> Core:
    core.now = START + DAY
    return core


def correction(record: "e.UsageReported | e.HoldSettled", used: int) -> p.ApplyCorrection:
    asked = c.CorrectUsage(position=record.position, usage=Usage(tokens=used), reason="counted twice")
    return p.ApplyCorrection(asked=asked, record=record)


def test_what_is_taken_back_is_free_again_and_counts_no_more_today() -> None:
    core = Core(fleet(10_000), allocate("a", 1_000, product="A"), use("a", 600))
    core.given(correction(recorded(core), 100))
    event = core.only(e.UsageCorrected)
    assert (event.before, event.after, event.tokens) == (Amounts(600, 0, 0), Amounts(100, 0, 0), -500)
    assert core.status("a").consumed == tokens(100)
    assert core.status("a").remaining == tokens(900)
    assert core.ledger.used_today[0] == core.ledger.day.by_product["A"] == 100


def test_what_is_added_is_covered_like_use() -> None:
    core = Core(fleet(10_000), allocate("a", 1_000), use("a", 600))
    core.given(correction(recorded(core), 1_500))
    assert core.only(e.Covered).amount == Amounts(tokens=500)
    assert core.status("a").consumed == tokens(1_500)
    core.given(correction(recorded(core), 600))
    assert core.pool[0] == 9_000
    assert core.status("a").consumed == tokens(600)


def test_a_settlement_is_corrected_as_a_report_is() -> None:
    core = Core(fleet(10_000), allocate("a", 1_000), hold("a", "h", 500), settle("h", 400))
    core.given(correction(recorded(core), 50))
    assert core.status("a").consumed == tokens(50)
    assert core.ledger.ended_holds["h"].booked == (50, 0, 0)


def test_a_record_of_a_former_day_counts_on_that_day() -> None:
    core = Core(fleet(10_000), allocate("a", 1_000, product="A"), use("a", 600))
    next_day(core).given(use("a", 10))
    record = next(event for event in core.log if isinstance(event, e.UsageReported))
    core.given(correction(record, 100))
    assert core.only(e.UsageCorrected).day == "2026-03-04"
    assert core.ledger.used_today[0] == core.ledger.day.by_product["A"] == 10
    assert core.status("a").consumed == tokens(110)


@pytest.mark.parametrize("used", [0, 100, 900, 5_000])
def test_a_record_of_a_closed_period_gives_todays_pool_nothing(used: int) -> None:
    core = Core(fleet(10_000, period="day"), use("stray", 600))
    record = recorded(core)
    next_day(core).given(use("stray", 10))
    pool = core.pool[0]
    core.given(correction(record, used))
    assert core.only(e.UsageCorrected).closed_period
    assert (core.pool[0], core.ledger.consumed[0], core.ledger.total[0]) == (pool, 10, 10_000)


@pytest.mark.parametrize("used", [0, 100, 900, 5_000, 30_000])
def test_of_an_open_account_a_closed_period_is_corrected_as_if_it_had_been_recorded_so(used: int) -> None:
    def played(first: int) -> Core:
        core = Core(fleet(10_000, period="day"), allocate("a", 6_000), use("a", first))
        return next_day(core)

    core = played(600)
    core.given(use("a", 1))
    record = next(event for event in core.log if isinstance(event, e.UsageReported))
    core.given(correction(record, used))
    assert core.status("a").consumed == tokens(used + 1)
    assert (core.ledger.consumed[0], core.ledger.total[0]) == (1, 10_000)


def test_the_last_of_several_corrections_counts() -> None:
    core = Core(fleet(10_000), allocate("a", 1_000), use("a", 600))
    record = recorded(core)
    core.given(correction(record, 100), correction(record, 300))
    assert core.only(e.UsageCorrected).before == Amounts(100, 0, 0)
    assert core.status("a").consumed == tokens(300)


def test_what_cannot_be_counted_anew_is_refused_and_changes_nothing() -> None:
    core = Core(fleet(10_000), allocate("a", 1_000), use("a", 600))
    record = recorded(core)
    core.given(c.ReleaseBudget(agent="a"))
    assert "was released" in core.when(correction(record, 100)).detail
    core.then_refused("cannot_correct")
    core.given(allocate("a", 1_000))
    core.when(correction(record, 100))
    core.then_refused("cannot_correct")


def test_what_is_no_usage_is_refused_by_name() -> None:
    core = Core(fleet(10_000), allocate("a", 1_000), use("a", 600))
    asked = c.CorrectUsage(position=1, usage=Usage(tokens=1), reason="a test")
    core.when(p.ApplyCorrection(asked=asked, found="config-loaded.v1"))
    core.then_refused("not_usage")
    core.when(p.ApplyCorrection(asked=asked))
    core.then_refused("unknown_position")
    core.when(correction(recorded(core), 600))
    core.then_refused("nothing_to_correct")


@settings(max_examples=25)
@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=6), st.booleans())
def test_back_and_forth_nothing_has_happened(figures: list[int], later: bool) -> None:
    core = Core(fleet(10_000, period="day"), allocate("a", 1_000, product="A"), use("a", 600))
    record = recorded(core)
    if later:
        next_day(core).given(use("a", 1))
    before = (core.status("a").consumed, core.pool, core.ledger.used_today, core.ledger.total, core.ledger.consumed)
    last = 600
    for used in [*figures, 600]:
        if used != last:
            core.given(correction(record, used))
        last = used
    after = (core.status("a").consumed, core.pool, core.ledger.used_today, core.ledger.total, core.ledger.consumed)
    assert after == before
    loaded = snapshot.load(snapshot.dump(core.ledger))
    assert loaded is not None
    assert loaded.corrections == core.ledger.corrections
