"""Costs by several things and by spans of time: the same figures as everywhere else, to the nano-dollar."""

import datetime as dt
from collections import Counter
from decimal import Decimal
from itertools import combinations
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.projections.reports.breakdown import PLAIN, Days, Line, breakdown
from tallystick.projections.reports.cost import Costs
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.view_file import ViewFile
from tallystick.projections.store.view_store import MemoryViewStore, ViewStore
from tests.support.core import Core, allocate, budget, fleet, hold, settle, submit, use
from tests.support.corrections import any_correction, correction, records
from tests.support.examples import examples
from tests.support.figures import ZONES, any_run
from tests.support.task_views import view_store_of
from tests.support.view_logs import rows_of, stored

NO_BREAKER: dict[str, Any] = {"circuit_breaker": {"trip_conditions": []}}
WAYS = (*PLAIN, "label:user", "label:team")
ALL = Days()


def lines_of(views: ViewStore, by: Any, per: Any = None, days: Days = ALL) -> list[Line]:
    costs = Costs(views)
    return breakdown(views, by, per, days, costs.zone, costs.aliases)


def late_run(dice: Random, zone: str) -> Core:
    """A random run, and then late usage, labels, history, corrections of any of it, and another zone."""
    core = any_run(dice, 40, zone)
    if dice.randint(0, 1):
        core.when(c.LoadConfig(config={"total_budget": {"period": dice.choice(("day", "week"))}}))
    for number in range(30):
        core.wait(dice.choice((0, 5, 900, 4_000, 30_000)))
        labels = dice.choice((None, {"user": "u1"}, {"user": "u2", "team": "x"}))
        match dice.randint(0, 6):
            case 0 | 1:
                at = core.now - dt.timedelta(minutes=dice.choice((1, 40, 600, 3_000)))
                usage = budget(dice.choice((3, 50)), cost=dice.choice((None, "0.000000001", "1")))
                agent, model = dice.choice(("a-0", "a-1", "late")), dice.choice((None, "opus"))
                core.when(c.ReportUsage(agent=agent, usage=usage, model=model, labels=labels, occurred_at=at))
            case 2:
                core.when(hold("a-0", f"late-{number}", 20, labels=labels, ttl_seconds=50_000))
            case 3:
                core.when(settle(f"late-{number - 1}", 11, "0.25"))
            case 4 if not dice.randint(0, 3):
                core.when(c.LoadConfig(config={"timezone": dice.choice(ZONES)}))
            case 5:
                if (made := any_correction(core, dice)) is not None:
                    core.when(made)
            case _:
                core.when(c.ReportUsage(agent="a-1", usage=budget(7, cost="0.5"), labels=labels))
    return core.pass_time()


@settings(max_examples=examples(24), deadline=None)
@given(seed=st.integers(0, 10**6), zone=st.sampled_from(ZONES))
def test_by_one_thing_it_is_what_cost_says_of_each_month_and_of_the_newest_day(seed: int, zone: str) -> None:
    views = view_store_of(late_run(Random(seed), zone))
    costs = Costs(views, whole=True)
    months = {day.date[:7] for day in costs.days}
    assert costs.date is not None
    for by in WAYS:
        for month in months:
            found = lines_of(views, [by], "month")
            sums = {one.by[by]: (one.tokens_used, one.cost_usd) for one in found if one.per == month}
            assert sums == {part.name: (part.tokens_used, part.cost_usd) for part in costs.by(by, month)}
        found = lines_of(views, [by], None, Days(costs.date, costs.date))
        sums = {one.by[by]: (one.tokens_used, one.cost_usd) for one in found}
        assert sums == {part.name: (part.tokens_used, part.cost_usd) for part in costs.by(by)}


@settings(max_examples=examples(24), deadline=None)
@given(seed=st.integers(0, 10**6), zone=st.sampled_from(ZONES))
def test_whatever_is_asked_for_adds_up_to_the_days_of_cost(seed: int, zone: str) -> None:
    views = view_store_of(late_run(Random(seed), zone))
    costs = Costs(views, whole=True)
    days = {day.date: (day.used.tokens or 0, Decimal(day.used.cost_nanos or 0) / 10**9) for day in costs.days}
    for by in [[], *combinations(WAYS, 2), WAYS]:
        found = Counter[str](), Counter[str]()
        for line in lines_of(views, by, "day"):
            found[0][line.per or ""] += line.tokens_used
            found[1][line.per or ""] += Decimal(line.cost_usd)  # type: ignore[assignment]
        assert {date: (found[0][date], found[1][date]) for date in days} == days
    whole = sum(used for used, _ in days.values()), sum(cost for _, cost in days.values())
    for per in (None, "hour", "day", "week", "month"):
        lines = lines_of(views, ["product", "model"], per)
        assert (sum(one.tokens_used for one in lines), sum(Decimal(one.cost_usd) for one in lines)) == whole


@settings(max_examples=examples(12), deadline=None)
@given(seed=st.integers(0, 10**6), zone=st.sampled_from(ZONES), pages=st.integers(2, 40))
def test_rows_do_not_depend_on_pages(seed: int, zone: str, pages: int) -> None:
    log = late_run(Random(seed), zone).log
    whole, paged = MemoryViewStore(), MemoryViewStore()
    Projector(stored(log), whole).catch_up()
    for number in range(1, pages + 1):
        Projector(stored(log), paged).catch_up(max(1, len(log) * number // pages))
    assert rows_of(paged) == rows_of(whole)


@pytest.fixture
def core() -> Core:
    """Two days in Kolkata, where hours begin at half past: from 17:30 on."""
    core = Core(fleet(50_000_000, timezone="Asia/Kolkata", **NO_BREAKER))
    core.given(allocate("ann", 5_000, product="shop"), submit("t", product="lab"))
    core.given(c.ReportUsage(agent="ann", model="opus", usage=budget(100, cost="3")), use("t", 50, "1"))
    core.wait(1_800).given(c.ReportUsage(agent="ann", model="haiku", usage=budget(10, cost="0.5")))
    core.wait(86_400).given(use("ann", 7, "0.000000001"))
    return core


def test_hours_are_those_of_the_fleets_zone(core: Core) -> None:
    found = lines_of(view_store_of(core), [], "hour")
    assert [(line.per, line.tokens_used) for line in found] == [
        ("2026-03-04T17:00+05:30", 150),
        ("2026-03-04T18:00+05:30", 10),
        ("2026-03-05T18:00+05:30", 7),
    ]


def test_combinations_come_the_most_expensive_first_with_their_part_of_the_span(core: Core) -> None:
    found = lines_of(view_store_of(core), ["product", "model"], "day")
    assert [(line.per, *line.by.values(), line.tokens_used, line.cost_usd, line.percent) for line in found] == [
        ("2026-03-04", "shop", "opus", 100, "3.00", 66),
        ("2026-03-04", "lab", "sonnet", 50, "1.00", 22),
        ("2026-03-04", "shop", "haiku", 10, "0.50", 11),
        ("2026-03-05", "shop", None, 7, "0.000000001", 100),
    ]


def test_weeks_are_those_of_the_iso_calendar_and_days_can_be_chosen(core: Core) -> None:
    core.wait(4 * 86_400).given(use("ann", 1))
    views = view_store_of(core)
    weeks = [(line.per, line.tokens_used) for line in lines_of(views, [], "week")]
    assert weeks == [("2026-W10", 167), ("2026-W11", 1)]
    assert [line.tokens_used for line in lines_of(views, [], None, Days("2026-03-05", "2026-03-05"))] == [7]
    assert [line.tokens_used for line in lines_of(views, [], None, Days("2026-03-05"))] == [8]
    assert lines_of(views, [], None, Days("2027-01-01", "9999-12-31")) == []


def test_late_usage_counts_in_the_hour_and_on_the_day_in_which_it_was_used(core: Core) -> None:
    at = core.now - dt.timedelta(days=1)
    core.given(c.ReportUsage(agent="ann", model="opus", usage=budget(1_000, cost="9"), occurred_at=at))
    found = {line.per: line.tokens_used for line in lines_of(view_store_of(core), [], "hour")}
    assert found["2026-03-04T18:00+05:30"] == 1_010
    assert found["2026-03-05T18:00+05:30"] == 7


def test_a_correction_counts_where_its_record_does(core: Core) -> None:
    first = records(core)[0]
    core.given(correction(core, first, used=60, cost=Decimal(2)))
    found = lines_of(view_store_of(core), ["product", "model"], "hour")
    sums = {(line.per, *line.by.values()): (line.tokens_used, line.cost_usd) for line in found}
    assert sums["2026-03-04T17:00+05:30", "shop", "opus"] == (60, "2.00")


def test_a_file_and_memory_give_the_same_rows(core: Core, tmp_path: Any) -> None:
    kept = ViewFile(str(tmp_path / "x.views"))
    kept.reset()
    Projector(stored(core.log), kept).catch_up()
    try:
        for days in (ALL, Days("2026-03-05"), Days(None, "2026-03-04")):
            for per in (None, "hour"):
                assert lines_of(kept, ["agent"], per, days) == lines_of(view_store_of(core), ["agent"], per, days)
    finally:
        kept.close()


def test_finished_hours_are_laid_aside(core: Core) -> None:
    live = [row for row in view_store_of(core).live().rows["breakdown"] if b'"cell"' in row]
    assert len(live) == 1
    assert core.every(e.UsageReported)[-1].tokens == 7
