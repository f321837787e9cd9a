"""Reports that views take as sums leave the rows that they leave one by one."""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Budget
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.evolve.account_read_model import AccountReadModel
from tallystick.events.log.codec import decode_event
from tallystick.events.state.accounts import Account
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.view_store import MemoryViewStore
from tallystick.projections.views.all_views import ALL_VIEWS, Folding
from tallystick.projections.views.summed_use import SummedUse, Summing
from tallystick.projections.views.view import Steps
from tests.support import decision_logs
from tests.support.core import START, Core, fleet, submit
from tests.support.examples import examples
from tests.support.plain_sessions import session
from tests.support.view_logs import rows_of, stored

LOGS = {
    name: [decode_event(record.data, record.name) for record in decision_logs.records_of(name)]
    for name in decision_logs.kept().heads
}


def rows(events: Sequence[e.Event], cuts: Sequence[int] = ()) -> list[tuple[object, ...]]:
    """The rows of all views, folded in several parts, and restored at one of them."""
    store, kept = stored(events), MemoryViewStore()
    for n, upto in enumerate(sorted({*cuts, len(events)} - {0})):
        if not n % 2:
            projector = Projector(store, kept)
        projector.catch_up(upto)
    return rows_of(kept)


def one_by_one(events: Sequence[e.Event], cuts: Sequence[int] = ()) -> list[tuple[object, ...]]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Summing, "take", lambda self, event: False)
        return rows(events, cuts)


@pytest.mark.parametrize("name", LOGS)
def test_kept_logs_lead_to_the_same_rows(name: str) -> None:
    events = LOGS[name]
    assert rows(events) == one_by_one(events)


@given(seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
def test_sessions_lead_to_the_same_rows_however_they_are_cut(seed: int, data: st.DataObject) -> None:
    core = Core(compares=False)
    for command, seconds in session(seed):
        core.wait(seconds).when(command)
    cuts = data.draw(st.lists(st.integers(1, len(core.log)), max_size=5))
    assert rows(core.log, cuts) == one_by_one(core.log, cuts)


def plain_reports(count: int, apart_seconds: float = 7, **rest: object) -> list[e.Event]:
    """Accounts of which one pays for another, one has a lease, and one has the name of a task; and their reports."""
    core = Core(
        fleet(tokens=10**9, timezone="Asia/Kolkata"),
        c.AllocateBudget(agent="ann", budget=Budget(tokens=10**6), product="shop"),
        c.AllocateBudget(agent="ann-1", budget=Budget(time_seconds=Decimal(10**6)), parent="ann"),
        c.AllocateBudget(agent="bob", budget=Budget(tokens=10**6), lease_seconds=Decimal(900)),
        c.AllocateBudget(agent="bob-1", budget=Budget(tokens=10), parent="bob"),
        submit("dan", expected_start=None),
        c.AllocateBudget(agent="cyd", budget=Budget(tokens=10**6)),
        submit("eve", estimated_tokens=1_000),
        c.AllocateBudget(agent="eve-1", budget=Budget(tokens=10), parent="eve"),
        c.Reserve(id="h-1", agent="ann", estimate=Budget(tokens=1), labels={"team": "b"}),
    )
    last = core.log[-1]
    agents = ("ann", "ann-1", "bob", "bob-1", "cyd", "eve-1")
    return core.log + [
        e.UsageReported(
            position=last.position + n,
            at=last.at + dt.timedelta(seconds=n * apart_seconds),
            id=f"r-{n}",
            by="t",
            agent=agents[n * 5 % 6],
            tokens=n * 7 % 40,
            time_ms=n * 5 % 3,
            cost_nanos=n % 4,
            **rest,  # type: ignore[arg-type]
        )
        for n in range(1, count + 1)
    ]


SAID = {
    "a model": {"model": "writer-1", "input_tokens": 5, "output_tokens": 2, "cached_tokens": 1},
    "another model": {"model": "reader-1"},
    "after an outage": {"after_outage": True, "time_ms": 0},
    "labels": {"labels": {"team": "a"}},
    "of another day": {"counts_on": "2020-01-01"},
    "used before": {"occurred_at": START - dt.timedelta(minutes=3)},
    "unpriced": {"model": "new-1", "unpriced": True},
    "for the fleet": {"overdrawn": "ann"},
    "before the period": {"history": True},
    "of no account": {"unallocated": True},
    "late": {"lease": "l-1"},
    "of an earlier life": {"life": 1},
    "of a hold that ended": {"hold": "h-1"},
}


@pytest.mark.parametrize("apart_seconds", [0.5, 7, 70, 1_700])
@pytest.mark.parametrize("said", SAID)
def test_whatever_a_report_says_the_rows_are_the_same(said: str, apart_seconds: float) -> None:
    events = plain_reports(120, apart_seconds, model="writer-1")
    for n, event in enumerate(events[-120:]):
        if n % 5 == 0:
            for name, value in SAID[said].items():
                setattr(event, name, value)
    assert rows(events) == one_by_one(events)
    assert rows(events, (40, 90)) == one_by_one(events, (40, 90))


@pytest.mark.parametrize("count", [4, 45, 50])
@pytest.mark.parametrize("said", ["a model", "after an outage"])
def test_the_balances_are_those_that_reports_lead_to_one_by_one(said: str, count: int) -> None:
    events = [event for event in plain_reports(count, apart_seconds=1) if getattr(event, "agent", "") != "eve-1"]
    for n, event in enumerate(event for event in events if isinstance(event, e.UsageReported)):
        for name, value in SAID[said].items() if n % 3 == 0 else ():
            setattr(event, name, value)
    told, summed = AccountReadModel(), Folding(ALL_VIEWS, lambda view, id: None)
    told.fold(events)
    summed.fold(events)
    summed.changes(events[-1])
    found = summed.balances
    assert (found.spent, found.held) == (told.spent, told.held)
    for account in (told.root, *told.accounts.values()):
        other = found.root if account is told.root else found.accounts[account.id]
        for field in Account.__struct_fields__:
            if field not in ("parent", "payers_above", "leased", "holds"):
                assert getattr(account, field) == getattr(other, field), (account.id, field)


def test_reports_of_an_agent_with_the_name_of_an_open_task_count_for_the_task() -> None:
    events = plain_reports(60)
    for event in events[-60::4]:
        assert isinstance(event, e.UsageReported)
        event.agent = "dan"
    opened = next(event for event in events if isinstance(event, e.BudgetAllocated) and event.agent == "cyd")
    opened.agent = "dan"
    for event in events[-60:]:
        assert isinstance(event, e.UsageReported)
        event.agent = "dan" if event.agent == "cyd" else event.agent
    assert rows(events) == one_by_one(events)
    assert any("dan" in str(row) and row[0] == "tasks" for row in rows(events))


def test_a_minute_of_one_agent_is_one_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    book = SummedUse.book
    monkeypatch.setattr(SummedUse, "book", lambda self, balances: (taken.append(self.reports), book(self, balances)))
    folding = Folding(ALL_VIEWS, lambda view, id: None)
    events = [event for event in plain_reports(100, apart_seconds=0) if getattr(event, "agent", "") != "eve-1"]
    folding.fold(events)
    assert taken == [], "nobody has looked yet"
    folding.changes(events[-1])
    assert (len(taken), sum(taken)) == (5, sum(isinstance(event, e.UsageReported) for event in events))


def test_a_view_that_takes_no_sums_has_each_report_with_the_balances_before_it() -> None:
    class Each:
        name, version = "each", 1

        def __init__(self, balances: object, look: object) -> None:
            self.balances, self.found = balances, []

        def _use(self, event: e.UsageReported) -> None:
            self.found.append((event.id, self.balances.spent[0]))  # type: ignore[attr-defined]

        steps: ClassVar[Steps] = {e.UsageReported: _use}

        def changes(self, last: e.Event) -> dict[str, None]:
            return {}

    folding = Folding([*ALL_VIEWS, Each], lambda view, id: None)  # type: ignore[list-item]
    events = plain_reports(9)
    folding.fold(events)
    used = [event.tokens for event in events[-9:] if isinstance(event, e.UsageReported)]
    each = folding._views[-1]
    assert isinstance(each, Each)
    assert each.found == [(f"r-{n}", sum(used[: n - 1])) for n in range(1, 10)]
