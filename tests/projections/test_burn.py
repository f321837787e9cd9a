"""How fast budgets are used, and when they will be empty at that rate: as anyone would count it from the log."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.config.amounts import Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.projections.reports.burn import Burn, Pace
from tallystick.projections.reports.status import Status
from tallystick.projections.store.runner import catch_up
from tallystick.projections.store.view_store import MemoryViewStore
from tests.support.core import START, Core, allocate, fleet, hold, settle, use
from tests.support.corrections import asked
from tests.support.view_logs import stored


def pace_of(core: Core, now: dt.datetime | None = None) -> tuple[Pace, Status]:
    views = MemoryViewStore()
    catch_up(stored(core.log), views)
    found = Status(views)
    return Pace(views, found, now or core.log[-1].at), found


def agent(core: Core, name: str, now: dt.datetime | None = None) -> Burn:
    pace, found = pace_of(core, now)
    return pace.agent(found.agents[name])


def test_a_rate_is_what_was_used_in_the_last_minutes_scaled_to_an_hour() -> None:
    core = Core(fleet(10_000, "100")).given(allocate("a", 1_000, "10"))
    core.wait(3_600).given(use("a", 100, "1"))
    core.wait(600).given(use("a", 50, "0.5"))
    found = agent(core, "a")
    # 14 whole minutes and the one that has just begun.
    assert found.window_seconds == 14 * 60
    assert found.tokens_per_hour == 150 * 3_600 // (14 * 60)
    assert found.cost_usd_per_hour == "6.428571428"
    assert (found.empty_first, found.dimension) == ("budget", "tokens")
    assert found.empty_in_seconds == 850 * 840 // 150


def test_what_was_used_earlier_does_not_count_and_where_nothing_was_used_nothing_gets_empty() -> None:
    core = Core(fleet(10_000)).given(allocate("a", 1_000), use("a", 100))
    later = core.log[-1].at + dt.timedelta(minutes=16)
    assert agent(core, "a", later) == Burn(14 * 60, 0, "0.00", None, None, None)
    assert pace_of(core, later)[0].fleet().tokens_per_hour == 0


def test_a_young_fleet_or_agent_is_measured_since_it_began_and_over_a_minute_at_least() -> None:
    core = Core(fleet(10_000)).given(allocate("a", 1_000), use("a", 10))
    assert agent(core, "a").window_seconds == 60
    core.wait(120).given(use("a", 20))
    assert agent(core, "a").window_seconds == 120
    assert agent(core, "a").tokens_per_hour == 900


def test_the_budget_that_is_empty_first_is_named_unless_it_is_renewed_before() -> None:
    core = Core(fleet(100_000, daily_limits={"max_tokens_total": 1_000}))
    core.given(allocate("a", 10_000), use("a", 10))
    found = pace_of(core)[0].fleet()
    # 600 an hour: the day at hand, which ends at midnight, has 990 left.
    assert (found.empty_first, found.dimension, found.empty_in_seconds) == ("day", "tokens", 990 * 6)
    late = Core(fleet(100_000, daily_limits={"max_tokens_total": 9_000}))
    late.given(allocate("a", 10_000), use("a", 10))
    # The day would last 15 hours, and is over before.
    assert pace_of(late)[0].fleet().empty_first == "total"


def test_a_correction_counts_in_the_minute_of_what_it_corrects() -> None:
    core = Core(fleet(10_000)).given(allocate("a", 1_000), use("a", 100))
    position = next(event.position for event in reversed(core.log) if isinstance(event, e.UsageReported))
    core.wait(60).given(asked(core, position, usage=Usage(tokens=40)))
    assert agent(core, "a").tokens_per_hour == 40 * 60
    assert pace_of(core)[0].fleet().tokens_per_hour == 40 * 60


def test_an_account_that_is_opened_again_begins_anew_and_late_usage_is_not_its_own() -> None:
    core = Core(fleet(10_000)).given(allocate("a", 1_000), hold("a", "h", 50), use("a", 100))
    core.given(c.ReleaseBudget(agent="a"), allocate("a", 1_000))
    assert agent(core, "a").tokens_per_hour == 0
    core.given(settle("h", 30))
    assert agent(core, "a").tokens_per_hour == 0
    assert pace_of(core)[0].fleet().tokens_per_hour == 130 * 60


@given(steps=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 50)), min_size=1, max_size=25))
def test_a_rate_is_that_of_the_reports_of_the_window(steps: list[tuple[int, int]]) -> None:
    core = Core(fleet(1_000_000)).given(allocate("a", 100_000))
    for seconds, tokens in steps:
        core.wait(seconds).given(use("a", tokens))
    now = core.log[-1].at
    begins = now.replace(second=0, microsecond=0) - dt.timedelta(minutes=14)
    used = sum(event.tokens for event in core.log if isinstance(event, e.UsageReported) and event.at >= begins)
    window = max(60, int((now - max(begins, START)).total_seconds()))
    assert agent(core, "a").tokens_per_hour == used * 3_600 // window


@pytest.mark.parametrize("page", [1, 3, 1_000])
def test_rows_do_not_depend_on_where_pages_end(page: int) -> None:
    core = Core(fleet(10_000)).given(allocate("a", 1_000), allocate("b", 1_000))
    for number in range(20):
        core.wait(90).given(use("ab"[number % 2], 5))
    core.given(c.ReleaseBudget(agent="b"))
    whole, parts = MemoryViewStore(), MemoryViewStore()
    catch_up(stored(core.log), whole)
    for end in range(page, len(core.log) + page, page):
        catch_up(stored(core.log[:end]), parts)
    assert parts.whole(["pace"]).rows == whole.whole(["pace"]).rows


@pytest.mark.parametrize("earlier", [dt.timedelta(days=400), dt.timedelta(days=1), dt.timedelta(minutes=16)])
def test_what_is_imported_of_earlier_is_no_rate_of_now(earlier: dt.timedelta) -> None:
    core = Core(fleet(10_000, period="none")).given(allocate("a", 9_000))
    core.wait(3_600).given(use("a", 10))
    past = core.log[-1].at - earlier
    core.given(c.ReportUsage(agent="a", usage=Usage(tokens=5_000), occurred_at=past, source_id="m"))
    core.given(c.ReportUsage(agent="a", usage=Usage(tokens=6_000), occurred_at=past, source_id="m"))
    assert agent(core, "a").tokens_per_hour == 10 * 3_600 // (14 * 60)
    assert pace_of(core)[0].fleet().tokens_per_hour == 10 * 3_600 // (14 * 60)


def test_what_is_reported_late_counts_in_the_minute_in_which_it_was_used() -> None:
    core = Core(fleet(10_000)).given(allocate("a", 9_000))
    core.wait(3_600).given(use("a", 10))
    used_at = core.log[-1].at - dt.timedelta(minutes=10)
    core.given(c.ReportUsage(agent="a", usage=Usage(tokens=500), occurred_at=used_at))
    assert agent(core, "a").tokens_per_hour == 510 * 3_600 // (14 * 60)
    core.wait(300).given(use("a", 1))
    assert agent(core, "a").tokens_per_hour == 11 * 3_600 // (14 * 60)


def test_what_was_used_before_a_fleet_began_is_no_part_of_its_rate() -> None:
    core = Core(fleet(10_000)).given(allocate("a", 9_000))
    core.given(c.ReportUsage(agent="a", usage=Usage(tokens=500), occurred_at=START - dt.timedelta(minutes=5)))
    assert pace_of(core)[0].fleet().tokens_per_hour == 0
