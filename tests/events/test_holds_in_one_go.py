"""Holds and settlements among reports, applied in one go, leave the state that they leave one by one."""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Amounts, Budget
from tallystick.events import catalog as e
from tallystick.events import evolve as general
from tallystick.events import messages as c
from tallystick.events.evolve import evolve, reports
from tallystick.events.evolve.reports import evolve_all
from tallystick.events.state.ledger import Ledger
from tests.support.core import Core, fleet, submit
from tests.support.examples import examples
from tests.support.same_states import is_same

AGENTS = ("ann", "ann-1", "bob", "cyd", "run", "run-1", "led")
NUMBERS = st.none() | st.integers(0, 9)
NOTES = {"labels": st.sampled_from(({"user": "u-1"}, {"user": "u-2", "x": "y"})), "operation": st.just("draft")}
USED = {
    "tokens": st.integers(0, 90),
    "time_ms": st.integers(0, 3),
    "cost_nanos": st.integers(0, 50),
    "model": st.sampled_from((None, "writer-1", "writer-2")),
    "input_tokens": NUMBERS,
    "output_tokens": NUMBERS,
    "requests": st.sampled_from((None, 1, 3)),
    "after_outage": st.booleans(),
}
REPORTS = st.fixed_dictionaries({"agent": st.sampled_from(AGENTS)}, optional=USED)
HOLDS = st.fixed_dictionaries(
    {"agent": st.sampled_from(AGENTS), "amount": st.builds(Amounts, NUMBERS, NUMBERS, NUMBERS)},
    optional={**NOTES, "model": st.sampled_from(("writer-1",)), "last_call": st.booleans(), "spends": st.booleans()},
)
SETTLEMENTS = st.fixed_dictionaries(
    {"which": st.integers(0, 40)},
    optional={**USED, **NOTES, "reason": st.just("done")},
)
ODD = st.sampled_from(
    (
        {"partial": True},
        {"unpriced": True, "model": "new-1"},
        {"history": True},
        {"overdrawn": "ann"},
        {"counts_on": "2020-01-01"},
        {"id": ""},
        {"id": "i-1"},
    )
)
STEPS = st.one_of(
    st.tuples(st.just("report"), REPORTS),
    st.tuples(st.just("place"), HOLDS),
    st.tuples(st.just("place"), HOLDS),
    st.tuples(st.just("settle"), SETTLEMENTS),
    st.tuples(st.just("settle"), SETTLEMENTS),
)
LATER = st.sampled_from((*[0] * 30, *[1] * 9, 40, 3_600, 50_000))
ENDS = st.dictionaries(st.integers(0, 89), st.sampled_from(("extend", "end", "spend", "odd")), max_size=3)


def opened(by: str) -> list[e.Event]:
    """Accounts of two products, of a run and below it, below another one, and below one that has a lease."""
    core = Core(
        fleet(10**9, products={"shop": {"token_budget_daily": 500}}, fairness={"by": by}, daily_limits={}),
        c.AllocateBudget(agent="ann", budget=Budget(tokens=10**6), product="shop"),
        c.AllocateBudget(agent="ann-1", budget=Budget(time_seconds=Decimal(10**6)), parent="ann", lease_seconds=900),
        c.AllocateBudget(agent="bob", budget=Budget(tokens=10**6), parent="ann-1"),
        c.AllocateBudget(agent="cyd", budget=Budget(cost_usd=Decimal(9)), parent="ann-1", agent_type="qa"),
        submit("run", product="site"),
        c.AllocateBudget(agent="run-1", budget=Budget(tokens=100), parent="run"),
        c.AllocateBudget(
            agent="led", budget=Budget(tokens=10**6), limits=[{"window": "day", "max": {"tokens": 10**6}}]
        ),
    )
    return list(core.log)


def events_of(
    said: Sequence[tuple[tuple[str, dict[str, Any]], int]], ends: dict[int, str], odd: dict[str, Any], by: str
) -> list[e.Event]:
    """A log of steps, in which a settlement is of one of the holds that stand."""
    events = opened(by)
    holds: dict[str, str] = {}
    for place, ((kind, says), seconds) in enumerate(said):
        position, at = events[-1].position + 1, events[-1].at + dt.timedelta(seconds=seconds)
        head: dict[str, Any] = {"position": position, "at": at, "id": f"i-{position}", "by": "t"}
        end = ends.get(place)
        if kind == "place":
            holds[f"h-{position}"] = says["agent"]
            expires = {"ttl_ms": 600_000, "expires_at": at + dt.timedelta(seconds=600 + place % 7)}
            events.append(e.HoldPlaced(**head, hold=f"h-{position}", **expires, **says))
        elif kind == "settle" and holds:
            which = says["which"]
            hold, agent = list(holds.items())[which % len(holds)]
            of: dict[str, Any] = {**head, "hold": hold, "agent": agent}
            used = {name: value for name, value in says.items() if name != "which"}
            if end == "extend":
                events.append(e.HoldExtended(**of, expires_at=at + dt.timedelta(hours=1), amount=Amounts(tokens=which)))
                continue
            more = odd if end == "odd" else {}
            if not more.get("partial"):
                del holds[hold]
            if end == "end":
                events.append(e.HoldEnded(**of, how="cancelled"))
            elif end == "spend":
                events.append(e.HoldSpent(**of, tokens=which, day="2026-03-04"))
            else:
                events.append(e.HoldSettled(**{**of, **used, **more}))
        elif kind == "report":
            events.append(e.UsageReported(**head, **says))
    return events


def together(events: Sequence[e.Event], cuts: Sequence[int] = ()) -> Ledger:
    ledger = Ledger()
    for first, behind in pairwise(sorted({0, *(cut for cut in cuts if cut < len(events)), len(events)})):
        evolve_all(ledger, events[first:behind])
    return ledger


def one_by_one(events: Sequence[e.Event]) -> Ledger:
    ledger = Ledger()
    for event in events:
        evolve(ledger, event)
    return ledger


@given(
    said=st.lists(st.tuples(STEPS, LATER), min_size=40, max_size=90),
    ends=ENDS,
    odd=ODD,
    by=st.sampled_from(("slot_time", "tokens", "cost")),
    cuts=st.lists(st.integers(0, 100), max_size=3),
)
@settings(max_examples=examples(120), deadline=None, suppress_health_check=list(HealthCheck))
def test_holds_and_what_was_used_add_up_as_one_by_one(
    said: list[tuple[tuple[str, dict[str, Any]], int]],
    ends: dict[int, str],
    odd: dict[str, Any],
    by: str,
    cuts: list[int],
) -> None:
    events = events_of(said, ends, odd, by)
    assert is_same(together(events, cuts), one_by_one(events))


def plain(count: int = 60) -> list[e.Event]:
    """Holds of three agents, each settled four places later, and a report behind each."""
    said: list[tuple[tuple[str, dict[str, Any]], int]] = []
    for n in range(count):
        agent = AGENTS[n % 3]
        said.append((("place", {"agent": agent, "amount": Amounts(tokens=9, time_ms=n % 4, cost_nanos=3)}), 0))
        if n > 4:
            said.append((("settle", {"which": n, "tokens": n, "cost_nanos": 2}), 0))
        said.append((("report", {"agent": agent, "tokens": n}), n % 9 == 0))
    return events_of(said, {}, {}, "slot_time")


def test_plain_holds_and_settlements_take_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[e.Event] = []
    monkeypatch.setattr(reports, "evolve", lambda ledger, event: asked.append(event) or general.evolve(ledger, event))
    events, before = plain(), len(opened("slot_time"))
    assert is_same(together(events), one_by_one(events))
    assert {type(event) for event in events[before:]} == {e.HoldPlaced, e.HoldSettled, e.UsageReported}
    assert asked == events[:before]


def test_what_is_held_when_the_last_use_comes_says_what_it_has_come_near_to() -> None:
    for tokens in range(300, 520, 10):
        events = events_of(
            [
                *[(("report", {"agent": "ann", "tokens": 1}), 0)] * 8,
                (("place", {"agent": "ann", "amount": Amounts(tokens=90)}), 0),
                (("report", {"agent": "ann", "tokens": tokens - 150}), 0),
                (("place", {"agent": "ann", "amount": Amounts(tokens=90)}), 0),
            ],
            {},
            {},
            "slot_time",
        )
        assert is_same(together(events), one_by_one(events))


@pytest.mark.parametrize("what", ["twice", "unknown", "another agent", "used and placed again", "too much"])
def test_what_cannot_have_happened_is_behind_what_has(what: str) -> None:
    events = plain(20)
    last = events[-1]
    head: dict[str, Any] = {"position": last.position + 1, "at": last.at, "id": "odd", "by": "t"}
    settled = next(event for event in reversed(events) if isinstance(event, e.HoldSettled))
    placed = next(event for event in reversed(events) if isinstance(event, e.HoldPlaced))
    again: dict[str, Any] = {"ttl_ms": 1, "expires_at": last.at, "amount": Amounts(tokens=1)}
    events += {
        "twice": [e.HoldSettled(**head, hold=settled.hold, agent=settled.agent, tokens=1)],
        "unknown": [e.HoldSettled(**head, hold="h", agent="ann", tokens=1)],
        "another agent": [e.HoldSettled(**head, hold=placed.hold, agent="cyd", tokens=1)],
        "used and placed again": [e.HoldPlaced(**head, hold=settled.hold, agent=settled.agent, **again)],
        "too much": [e.HoldSettled(**head, hold=placed.hold, agent=placed.agent, tokens=10**39)],
    }[what]
    one, other = Ledger(), Ledger()
    outcome = [_outcome(one, events, by_one=True), _outcome(other, events, by_one=False)]
    assert outcome[0] == outcome[1]
    assert is_same(one, other)


def _outcome(ledger: Ledger, events: Sequence[e.Event], *, by_one: bool) -> str:
    try:
        if by_one:
            for event in events:
                evolve(ledger, event)
        else:
            evolve_all(ledger, events)
    except (LookupError, OverflowError) as error:
        return f"{type(error).__name__} behind {ledger.position}"
    return f"all of {ledger.position}"


def test_below_a_lease_the_newest_of_several_accounts_counts() -> None:
    said: list[tuple[tuple[str, dict[str, Any]], int]] = [
        (("report", {"agent": agent, "tokens": 1}), 1) for agent in ("bob", "cyd", "bob") * 4 + ("bob",) * 2
    ]
    events = events_of(said, {}, {}, "slot_time")
    assert together(events).accounts["ann-1"].heard_at == events[-1].at
    assert is_same(together(events), one_by_one(events))


def test_a_hold_of_which_a_part_was_settled_counts_all_of_it_as_one_operation() -> None:
    said: list[tuple[tuple[str, dict[str, Any]], int]] = [
        (("place", {"agent": "ann", "amount": Amounts(tokens=90)}), 0),
        (("settle", {"which": 0, "tokens": 50, "output_tokens": 0}), 0),
        (("settle", {"which": 0, "tokens": 30}), 0),
        *[(("report", {"agent": "ann", "tokens": 1}), 0)] * 8,
    ]
    events = events_of(said, {1: "odd"}, {"partial": True}, "slot_time")
    assert together(events).accounts["ann"].most_tokens == 80
    assert is_same(together(events), one_by_one(events))


def test_a_hold_that_stood_before_is_settled_once() -> None:
    events, cut = plain(20), 40
    settled = {event.hold for event in events if isinstance(event, e.HoldSettled)}
    one, other = together(events[:cut]), one_by_one(events[:cut])
    hold = next(hold for hold in one.holds.values() if hold.id not in settled)
    for _ in range(2):
        last = events[-1]
        head: dict[str, Any] = {"position": last.position + 1, "at": last.at, "id": f"odd-{last.position}", "by": "t"}
        events.append(e.HoldSettled(**head, hold=hold.id, agent=hold.agent, tokens=1))
    assert _outcome(one, events[cut:], by_one=False) == _outcome(other, events[cut:], by_one=True)
    assert one.position == events[-2].position
    assert is_same(one, other)
