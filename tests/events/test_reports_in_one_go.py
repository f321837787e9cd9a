"""Events that are applied in one go leave the state that they leave one by one: money, ids, growth, all of it."""

import datetime as dt
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Budget
from tallystick.events import catalog as e
from tallystick.events import evolve as general
from tallystick.events import messages as c
from tallystick.events.evolve import evolve, reports
from tallystick.events.evolve.reports import evolve_all
from tallystick.events.log.codec import decode_event
from tallystick.events.state.ledger import Ledger
from tests.support import decision_logs
from tests.support.core import START, Core, dump, fleet, submit
from tests.support.examples import examples
from tests.support.plain_sessions import session
from tests.support.same_states import is_same
from tests.support.same_states import said as said_by

LOGS = {
    name: [decode_event(record.data, record.name) for record in decision_logs.records_of(name)]
    for name in decision_logs.kept().heads
}


def one_by_one(events: Sequence[e.Event]) -> Ledger:
    ledger = Ledger()
    for event in events:
        evolve(ledger, event)
    return ledger


def in_one_go(events: Sequence[e.Event], cuts: Sequence[int] = ()) -> Ledger:
    """The state after events that come in several parts."""
    ledger = Ledger()
    for first, behind in pairwise(sorted({0, *cuts, len(events)})):
        evolve_all(ledger, events[first:behind])
    return ledger


@pytest.mark.parametrize("name", LOGS)
def test_kept_logs_lead_to_the_same_state(name: str) -> None:
    events = LOGS[name]
    assert is_same(in_one_go(events), one_by_one(events))


@given(seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
def test_sessions_lead_to_the_same_state_however_they_are_cut(seed: int, data: st.DataObject) -> None:
    core = Core(compares=False)
    for command, seconds in session(seed):
        core.wait(seconds).when(command)
    events = core.log
    cuts = data.draw(st.lists(st.integers(0, len(events)), max_size=5))
    assert is_same(in_one_go(events, cuts), one_by_one(events))


def plain_reports(count: int, limits: Sequence[object] = (), **rest: object) -> list[e.Event]:
    """Three accounts, two of them of a product, one below another; and their reports, one a second."""
    core = Core(
        fleet(tokens=10**9, products={"shop": {"token_budget_daily": 500}}, limits=list(limits)),
        c.AllocateBudget(agent="ann", budget=Budget(tokens=10**6), product="shop"),
        c.AllocateBudget(agent="ann-1", budget=Budget(time_seconds=Decimal(10**6)), parent="ann"),
        c.AllocateBudget(agent="bob", budget=Budget(tokens=10**6)),
    )
    last = core.log[-1]
    return core.log + [
        e.UsageReported(
            position=last.position + n,
            at=last.at + dt.timedelta(seconds=n),
            id=f"r-{n}",
            by="t",
            agent=("ann", "ann-1", "bob")[n % 3],
            tokens=n * 7 % 40,
            time_ms=n * 5 % 3,
            cost_nanos=n % 4,
            **rest,  # type: ignore[arg-type]
        )
        for n in range(1, count + 1)
    ]


SAID = {
    "model": {"model": "writer-1", "input_tokens": 5, "output_tokens": 2, "cached_tokens": 1},
    "after an outage": {"after_outage": True},
    "an answer in parts": {"model": "writer-1", "output_tokens": 3, "partial": True},
    "several requests": {"model": "writer-1", "output_tokens": 3, "requests": 4},
    "of another day": {"counts_on": "2020-01-01"},
    "used before": {"occurred_at": START},
    "unpriced": {"model": "new-1", "unpriced": True},
    "for the fleet": {"overdrawn": "ann"},
    "before the period": {"history": True},
    "late": {"lease": "l-1"},
    "of an earlier life": {"life": 1},
    "of a hold that ended": {"hold": "h-1"},
}


@pytest.mark.parametrize("said", SAID)
def test_whatever_a_report_says_the_state_is_the_same(said: str) -> None:
    plain, odd = plain_reports(90), plain_reports(90, **SAID[said])
    mixed = [odd[n] if n % 5 == 0 else event for n, event in enumerate(plain)]
    for events in (odd, mixed):
        assert is_same(in_one_go(events), one_by_one(events))


MODELS = (None, "writer-1", "writer-2")
NUMBERS = st.none() | st.integers(0, 9)
SAYS = st.fixed_dictionaries(
    {"agent": st.sampled_from(("ann", "ann-1", "bob", "cyd", "run", "run-1"))},
    optional={
        "tokens": st.integers(0, 90),
        "time_ms": st.integers(0, 3),
        "cost_nanos": st.integers(0, 50),
        "model": st.sampled_from(MODELS),
        "input_tokens": NUMBERS,
        "output_tokens": NUMBERS,
        "after_outage": st.booleans(),
    },
)
ODD = st.sampled_from(({"id": ""}, {"id": "i-1"}, {"unpriced": True}, {"tokens": 10**39}, {"agent": "nobody"}))
LATER = st.sampled_from((*[0] * 20, *[1] * 9, 40, 3_600, 50_000))
"""Seconds: within a minute, an hour, a day, or in another one."""


@given(
    said=st.lists(st.tuples(SAYS, LATER), min_size=30, max_size=70),
    odd=st.dictionaries(st.integers(0, 69), ODD, max_size=2),
    by=st.sampled_from(("slot_time", "tokens", "cost")),
    cuts=st.lists(st.integers(0, 80), max_size=3),
)
@settings(max_examples=examples(60), deadline=None)
def test_reports_of_several_accounts_add_up_as_one_by_one(
    said: list[tuple[dict[str, object], int]], odd: dict[int, dict[str, object]], by: str, cuts: list[int]
) -> None:
    core = Core(
        fleet(10**9, products={"shop": {"token_budget_daily": 500}}, fairness={"by": by}, daily_limits={}),
        c.AllocateBudget(agent="ann", budget=Budget(tokens=10**6), product="shop"),
        c.AllocateBudget(agent="ann-1", budget=Budget(time_seconds=Decimal(10**6)), parent="ann", lease_seconds=900),
        c.AllocateBudget(agent="bob", budget=Budget(cost_usd=Decimal(9)), agent_type="qa"),
        submit("run", product="site"),
        c.AllocateBudget(agent="run-1", budget=Budget(tokens=100), parent="run"),
    )
    events: list[e.Event] = [*core.log]
    for place, (says, seconds) in enumerate(said):
        last = events[-1]
        head = {
            "position": last.position + 1,
            "at": last.at + dt.timedelta(seconds=seconds),
            "id": f"i-{last.position}",
        }
        events.append(e.UsageReported(**{**head, **says, **odd.get(place, {})}))  # type: ignore[arg-type]
    one, other = Ledger(), Ledger()
    assert outcome(one, lambda: [evolve(one, event) for event in events]) == outcome(
        other, lambda: [evolve_all(other, events[a:b]) for a, b in pairwise(sorted({0, *cuts, len(events)}))]
    )


def outcome(ledger: Ledger, lead: Callable[[], object]) -> object:
    """The state that events lead to, as far as they can have happened."""
    try:
        lead()
    except OverflowError:
        return dump(ledger)
    return said_by(ledger)


def test_a_report_after_an_outage_leaves_the_pace_as_the_one_before_it_has() -> None:
    events = plain_reports(9)
    events[-3] = msgspec.structs.replace(events[-3], time_ms=0, after_outage=True)
    ledger = in_one_go(events)
    assert ledger.accounts[events[-3].agent].pace_ms == events[-6].time_ms == 2  # type: ignore[attr-defined]
    assert is_same(ledger, one_by_one(events))


def test_limits_count_each_report() -> None:
    events = plain_reports(40, limits=[{"name": "all", "window": "day", "max": {"tokens": 300}}])
    assert is_same(in_one_go(events), one_by_one(events))


@pytest.mark.parametrize("count", range(34, 46))
def test_the_limit_that_the_last_report_has_come_near_to_is_known(count: int) -> None:
    events = plain_reports(count)
    assert is_same(in_one_go(events), one_by_one(events))


@given(
    ids=st.lists(st.sampled_from([*(f"r-{n}" for n in range(12)), ""]), min_size=80, max_size=80),
    most=st.integers(1, 30),
    cuts=st.lists(st.integers(4, 84), max_size=4),
)
@settings(max_examples=examples(40), deadline=None)
def test_ids_that_come_again_are_remembered_as_one_by_one(ids: list[str], most: int, cuts: list[int]) -> None:
    events = plain_reports(80)
    for event, id in zip(events[-80:], ids, strict=True):
        event.id = id
    configured = events[0]
    assert isinstance(configured, e.ConfigLoaded)
    events[0] = msgspec.structs.replace(configured, config={**configured.config, "idempotency_ids_max": most})
    assert is_same(in_one_go(events, cuts), one_by_one(events))


def test_plain_reports_take_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(reports, "evolve", lambda ledger, event: asked.append(event) or general.evolve(ledger, event))
    events = plain_reports(50)
    in_one_go(events)
    assert asked == events[:-50]


def test_an_event_that_cannot_have_happened_is_behind_those_that_have() -> None:
    events = plain_reports(30)
    at = len(events) - 10
    events[at] = e.LevelChanged(
        position=events[at].position, at=events[at].at, agent="x", before="green", level="red", percentage=1,
        dimension="tokens",
    )  # fmt: skip
    ledger = Ledger()
    with pytest.raises(KeyError):
        evolve_all(ledger, events)
    assert ledger.position == events[at - 1].position
    assert is_same(ledger, one_by_one(events[:at]))
