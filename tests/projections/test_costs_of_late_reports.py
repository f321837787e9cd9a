"""Bills of days and months, where what was used is reported later: it stands on the day on which it was used."""

import datetime as dt
from collections import defaultdict
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tallystick.events import catalog as e
from tallystick.events.state.money import Money, money
from tallystick.projections.reports.cost import Costs, Part
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.view_store import MemoryViewStore
from tests.support.core import allocate, fleet, hold, use
from tests.support.corrections import any_correction, counted, records
from tests.support.sources import SourcedCore, said, settled
from tests.support.view_logs import stored

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
FEW: dict[str, Any] = {
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": 10},
    "circuit_breaker": {"trip_conditions": []},
}


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC)


def opened(text: str, **config: Any) -> SourcedCore:
    """A fleet that began at a time, with two agents of two products."""
    core = SourcedCore()
    core.now = at(text)
    return core.given(
        fleet(50_000_000, "5000", **FEW, **config),
        allocate("ann", 900_000, "900", product="shop", agent_type="qa"),
        allocate("bob", 900_000, "900", product="lab"),
    )


def costs_of(core: SourcedCore, pages: int = 1) -> Costs:
    """Of all days; folded in so many pages, each by a projector that begins anew."""
    store = MemoryViewStore()
    for number in range(1, pages + 1):
        Projector(stored(core.log), store).catch_up(max(1, len(core.log) * number // pages))
    return Costs(store, whole=True)


def bills(core: SourcedCore) -> dict[str, int]:
    """The tokens of every day."""
    return {day.date: day.used.tokens or 0 for day in costs_of(core).days}


def test_what_is_reported_late_stands_on_the_bill_of_its_day_and_not_of_today() -> None:
    core = opened("2026-03-04T12:00Z")
    core.pass_time(at("2026-03-06T09:00Z")).given(use("ann", 10, "1"))
    core.given(said("ann", "m", 700, "2.5", occurred_at=at("2026-03-05T23:59:59Z"), model="opus"))
    costs = costs_of(core)
    assert bills(core) == {"2026-03-04": 0, "2026-03-05": 700, "2026-03-06": 10}
    assert (costs.day().date, costs.day().tokens_used, costs.day().cost_usd) == ("2026-03-06", 10, 1)
    assert costs.month().actual_usd == "3.50"
    assert [(day.date, day.cost_usd) for day in costs.month().days][1] == ("2026-03-05", "2.50")
    assert costs.by("model") == [Part(None, 10, "1.00", 100)], "of today"
    assert [(part.name, part.cost_usd) for part in costs.by("model", "2026-03")] == [("opus", "2.50"), (None, "1.00")]


def test_a_late_report_of_the_last_month_is_on_no_bill_of_this_one() -> None:
    core = opened("2026-02-20T12:00Z")
    core.pass_time(at("2026-03-02T12:00Z")).given(use("ann", 10, "1"))
    late = [at("2026-02-28T23:59:59.999999Z"), at("2026-03-01T00:00Z")]
    core.given(*(said("ann", None, 100, "7", occurred_at=one) for one in late))
    month = costs_of(core).month()
    assert (month.month, month.actual_usd, month.tokens_used) == ("2026-03", "8.00", 110)
    assert (bills(core)["2026-02-28"], bills(core)["2026-03-01"]) == (100, 100)
    assert [(part.name, part.cost_usd) for part in costs_of(core).by("product", "2026-02")] == [("shop", "7.00")]


@pytest.mark.parametrize(
    ("used", "day"),
    [
        ("2026-03-28T22:59:59Z", "2026-03-28"),  # 23:59:59, in winter
        ("2026-03-28T23:00:00Z", "2026-03-29"),  # midnight: a day of 23 hours begins
        ("2026-03-29T21:59:59Z", "2026-03-29"),  # 23:59:59, in summer
        ("2026-03-29T22:00:00Z", "2026-03-30"),
    ],
)
def test_days_are_those_of_the_fleets_clocks_also_where_these_were_changed(used: str, day: str) -> None:
    core = opened("2026-03-27T12:00Z", timezone="Europe/Zurich")
    core.pass_time(at("2026-03-31T12:00Z")).given(said("ann", None, 100, occurred_at=at(used)))
    assert {date: tokens for date, tokens in bills(core).items() if tokens} == {day: 100}


def test_history_is_on_the_bill_of_its_day_and_kept_apart() -> None:
    core = opened("2026-03-04T12:00Z")
    core.given(said("ann", "m", 500, "4", occurred_at=at("2026-02-10T12:00Z")), said("ann", "m", 600, "4"))
    (day,) = [day for day in costs_of(core).days if day.date == "2026-02-10"]
    assert (day.used.tokens, day.history.tokens, day.reports) == (600, 600, 1)
    assert core.ledger.spent == [0, 0, 0]
    assert costs_of(core).month().actual_usd == "0.00"


def test_parts_of_a_hold_stand_on_the_days_on_which_they_were_used() -> None:
    core = opened("2026-03-04T12:00Z").pass_time(at("2026-03-05T23:00Z"))
    core.given(hold("ann", "h", 1_000, ttl_seconds=Decimal(7_200)))
    core.given(settled("h", None, 100, final=False, occurred_at=at("2026-03-05T22:59Z")))
    core.pass_time(at("2026-03-06T00:30Z"))
    core.given(settled("h", None, 30, final=False, occurred_at=at("2026-03-05T23:59Z")))
    core.given(settled("h", "m", 7, final=False, occurred_at=at("2026-03-06T00:10Z")))
    assert core.status("ann").held.tokens == 1_000 - 137
    core.given(settled("h", None, 2))
    assert (core.status("ann").held.tokens, core.status("ann").consumed.tokens) == (0, 139)
    assert bills(core) == {"2026-03-04": 0, "2026-03-05": 130, "2026-03-06": 9}
    core.given(said("bob", "m", 50, occurred_at=at("2026-03-05T20:00Z")))
    assert bills(core)["2026-03-06"] == 52, "a larger figure of a source stands where its record does"
    assert [(part.name, part.tokens_used) for part in costs_of(core).by("agent")] == [("ann", 52)]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Zurich", "Asia/Kolkata", "America/New_York"])
@pytest.mark.parametrize("seed", range(3))
def test_every_bill_is_the_sum_of_what_was_used_on_its_day_after_all_corrections(zone: str, seed: int) -> None:
    """Over ends of months and changes of clocks; agents, products and history as well, folded in pieces too."""
    dice, core = Random(seed), opened("2026-02-26T12:00Z", timezone=zone)
    held = 0
    for n in range(70):
        core.pass_time(core.now + dice.choice((0, 0, 1, 5, 13, 40)) * HOUR)
        agent, tokens = dice.choice(("ann", "bob", "stray")), dice.randrange(1, 500)
        then = core.now - dice.choice((0, 1, 9, 30, 200, 900)) * HOUR - dice.randrange(3_600) * dt.timedelta(seconds=1)
        source = dice.choice((None, f"m-{dice.randrange(20)}"))
        match dice.randrange(6):
            case 0:
                command = any_correction(core, dice)
                if command is not None:
                    core.when(command)
            case 1 | 2 if agent != "stray":
                held += 1
                core.when(hold(agent, f"h-{held}", 600, ttl_seconds=Decimal(3_600)))
                core.when(settled(f"h-{held}", source, tokens, "0.5", final=n % 2 == 0, occurred_at=then))
            case 3:
                core.when(use(agent, tokens, "0.25"))
            case _:
                core.when(said(agent, source, tokens, str(dice.randrange(3)), occurred_at=then))
    expected: dict[str, Money] = defaultdict(lambda: (0, 0, 0))
    history: dict[str, int] = defaultdict(int)
    counts = counted(core)
    for record in records(core):
        day, units = record.used_at.astimezone(ZoneInfo(zone)).date().isoformat(), counts[record.position]
        expected[day] = tuple(map(sum, zip(expected[day], units, strict=True)))
        history[day] += units[0] if record.history else 0
    whole, pieces = costs_of(core), costs_of(core, 9)
    assert {day.date: money(day.used.triple) for day in whole.days if money(day.used.triple) != (0, 0, 0)} == {
        day: units for day, units in expected.items() if units != (0, 0, 0)
    }
    assert {day.date: day.history.tokens or 0 for day in whole.days} == {
        day.date: history[day.date] for day in whole.days
    }
    for by in ("agent", "product"):
        sums: dict[str, int] = defaultdict(int)
        for part in whole.parts:
            if part.by == by:
                sums[part.date] += part.used.tokens or 0
        assert {day: tokens for day, tokens in sums.items() if tokens} == {
            day: units[0] for day, units in expected.items() if units[0]
        }
    assert (pieces.days, sorted(map(repr, pieces.parts))) == (whole.days, sorted(map(repr, whole.parts)))
    assert any(isinstance(event, e.UsageCorrected) for event in core.log)
    assert sum(units[0] for units in expected.values()) - sum(history.values()) == core.ledger.spent[0]
