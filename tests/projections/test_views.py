"""Rows of the views: given a log, then these rows; and for any log, what the law itself says."""

from decimal import Decimal
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.events import commands as c
from tallystick.events import proposals as p
from tallystick.events.accounts import Account
from tallystick.events.amounts import Amounts
from tallystick.events.codec import BrokenChain
from tallystick.events.replies import GlobalStatus, shown
from tallystick.events.store import Record
from tallystick.projections.agents_view import AgentRow
from tallystick.projections.fleet_view import FleetRow
from tallystick.projections.keeper import MemoryKeeper
from tallystick.projections.projector import NotThere, Projector, status_at
from tallystick.projections.status import Status
from tallystick.projections.upkeep import catch_up
from tests.law import START, Law, allocate, budget, fleet, hold, settle, submit, use
from tests.projections.logs import status_of, stored, write
from tests.strategies import Step, commands

PROFILE = settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=False
)

SEEN = (
    set(Account.__slots__)
    - {"parent", "above", "held", "holds", "children", "dims"}
    - {
        # What an agent is still to be told, and how long it has to wait: the manager's business.
        *("model", "pace_ms", "pool_notice", "warning"),
        # How its usage grows, and what was foretold of it: the business of those who foresee.
        *("forecasts", "growth"),
        # What daily limits are counted by: the law's business.
        *("run", "under"),
    }
)


def row(law: Law, agent: str) -> AgentRow:
    found = status_of(law).agent(agent)
    assert found is not None
    return found


# --- any log ---------------------------------------------------------------------------------------------------------


def run(steps: list[Step]) -> Law:
    law = Law()
    for command, seconds in steps:
        law.wait(seconds)
        law.when(command)
    return law


@PROFILE
@given(commands())
def test_the_views_say_what_the_law_answers_after_any_sequence_of_commands(steps: list[Step]) -> None:
    law = run(steps)
    status = status_of(law)
    sketch = status.sketch(law.now)

    answer = law.when(c.GetGlobalStatus(limit=1_000))
    assert isinstance(answer, GlobalStatus)
    said = sketch.global_status()
    said.agent_statuses = [sketch.budget_status(agent) for agent in sorted(status.agents)]
    assert said == answer

    for name, account in law.ledger.accounts.items():
        drawn = sketch.account(name)
        assert {slot: getattr(drawn, slot) for slot in SEEN} == {slot: getattr(account, slot) for slot in SEEN}
    for told in answer.agent_statuses:
        kept = status.agents[told.agent]
        for name in ("allocated", "delegated", "consumed", "held", "overrun", "remaining"):
            assert shown(getattr(kept, name).triple) == getattr(told, name), name
        assert (kept.percentage, kept.level, kept.state) == (told.percentage, told.status, told.state)


@PROFILE
@given(commands(), st.integers(0, 2**32))
def test_rows_do_not_depend_on_pages_nor_on_when_the_fold_was_restored(steps: list[Step], seed: int) -> None:
    store = stored(run(steps).log)
    last = store.last()
    assert last is not None
    dice = Random(seed)
    pieces, whole = MemoryKeeper(), MemoryKeeper()
    catch_up(store, whole)
    projector = Projector(store, pieces)
    while projector.position < last.position:
        if dice.random() < 0.5:
            projector = Projector(store, pieces)
        projector.catch_up(upto=min(last.position, projector.position + dice.randint(1, 9)))
    assert pieces.live() == whole.live()
    assert pieces._rows == whole._rows


def eventful() -> Law:
    """A fleet to which everything happens that a row can tell."""
    small = {"token_budgets": {"default": 20, "backend-engineer": 20}, "enforcement": {"stop_at": "0.95"}}
    law = Law(fleet(10_000, "100", emergency_reserve_percent=10, period="day", **small))
    law.given(allocate("ann", 1_000, "5", agent_type="qa", product="shop", workflow="w"))
    law.given(allocate("ann/1", 300, parent="ann"), allocate("bob", 2_000))
    law.given(p.LoadPrices(prices={"known": {"input": 1, "output": 1}}))
    law.given(submit("task"), c.ReportUsage(task="task", usage=budget(5)))
    law.given(hold("ann", "h-1", 20), hold("bob", "h-2", 20, "0.5"), hold("ann/1", "h-3", 5, ttl_seconds=None))
    law.given(use("ann/1", 100), use("ann", 10, "0.25", "1.5"), settle("h-2", 30, "0.1"))
    law.given(c.BorrowFromPool(agent="bob", amount=budget(100)), c.ReturnToPool(agent="bob", amount=budget(40)))
    law.given(c.Throttle(agent="bob", rate=Decimal("0.25")), c.Stop(agent="ann/1", reason="enough"))
    idle = p.Move(source="bob", target="pool", amount=Amounts(50), reason="idle", strategy="idle")
    law.wait(61).given(p.ApplyMoves(moves=[idle]), p.WarnAgent(agent="bob", exhausted_in_seconds=90, method="average"))
    law.given(allocate("cyd", 100, "1"), use("cyd", 96), allocate("dee", 50), use("dee", 80), use("eve", 3))
    law.given(c.ReleaseBudget(agent="dee"), use("dee", 5), c.PauseAll(reason="lunch"), c.ReleaseReserve(reason="go"))
    law.given(c.ReleaseBudget(agent="ann/1"), use("ann/1", 7), use("bob", 8_500))
    law.given(c.ReportUsage(agent="bob", usage=budget(1), model="unheard-of"))
    return law.wait(86_400).given(use("bob", 1))


def test_a_fold_can_be_restored_behind_any_event() -> None:
    law = eventful()
    store, pieces = stored(law.log), MemoryKeeper()
    for position in range(1, len(law.log) + 1):
        assert Projector(store, pieces).catch_up(upto=position) == position
        assert pieces._rows == status_at(store, position)._rows, f"behind event {position}"


def test_the_eventful_fleet_leaves_no_field_of_a_row_at_rest() -> None:
    law, seen = eventful(), set()
    for position in range(1, len(law.log) + 1):
        status = Status(status_at(stored(law.log), position))
        for kept in (status.fleet, *status.agents.values(), *status.strangers, *filter(None, [status.agent("dee")])):
            seen |= {(type(kept), name) for name in kept.__struct_fields__ if getattr(kept, name) not in RESTING}
    fields = {(kind, name) for kind in (AgentRow, FleetRow) for name in kind.__struct_fields__}
    assert not fields - seen


RESTING = (None, Amounts(), 0, False, "", {}, "none")


# --- agents ----------------------------------------------------------------------------------------------------------


def test_an_agents_row_carries_its_labels_and_its_money() -> None:
    law = Law(fleet(10_000))
    law.given(
        allocate("ann", 1_000, priority="high", agent_type="qa", product="shop", workflow="w-1"),
        allocate("ann/1", 200, parent="ann"),
        use("ann", 100),
        use("ann/1", 50),
        hold("ann", "h-1", 30),
    )
    ann, sub = row(law, "ann"), row(law, "ann/1")
    assert (ann.agent_type, ann.product, ann.workflow, ann.priority, ann.state) == ("qa", "shop", "w-1", "high", "open")
    assert ann.allocated == Amounts(1_000)
    assert ann.delegated == Amounts(200)
    assert ann.consumed == Amounts(100)
    assert ann.held == Amounts(30)
    assert ann.remaining == Amounts(670)
    assert ann.percentage == 0.125
    assert (ann.opened_at, ann.last_report_at, ann.released_at, ann.reports) == (START, START, None, 1)
    assert (sub.parent, sub.consumed) == ("ann", Amounts(50))


def test_what_nobody_limits_is_shown_where_it_was_used() -> None:
    law = Law(fleet(10_000)).given(allocate("ann", 1_000), use("ann", 10, "0.5"))
    assert row(law, "ann").consumed == Amounts(10, None, 500_000_000)


def test_what_black_gave_back_does_not_raise_the_percentage() -> None:
    law = Law(fleet(10_000, "100", enforcement={"stop_at": "0.95"})).given(allocate("ann", 1_000, "5"))
    law.given(use("ann", 960, "1"))
    ann = row(law, "ann")
    assert (ann.level, ann.given_back, ann.percentage) == ("black", Amounts(None, None, 4_000_000_000), 0.96)


def test_a_released_agents_row_stays_as_it_was_and_says_when() -> None:
    law = Law(fleet(10_000)).given(allocate("ann", 1_000), use("ann", 400)).wait(5)
    law.given(c.ReleaseBudget(agent="ann"))
    ann = row(law, "ann")
    assert (ann.state, ann.allocated, ann.consumed, ann.released_at) == (
        "released",
        Amounts(1_000),
        Amounts(400),
        law.now,
    )
    assert not status_of(law).agents


def test_a_late_report_is_shown_beside_what_the_released_agent_had_used() -> None:
    law = Law(fleet(10_000)).given(allocate("ann", 1_000), use("ann", 400), c.ReleaseBudget(agent="ann"))
    law.given(use("ann", 7), use("ann", 2))
    assert (row(law, "ann").consumed, row(law, "ann").late) == (Amounts(400), Amounts(9))


def test_a_late_report_of_a_sub_agent_is_charged_to_its_parent() -> None:
    law = Law(fleet(10_000)).given(allocate("ann", 1_000), allocate("ann/1", 100, parent="ann"))
    law.given(c.ReleaseBudget(agent="ann/1"), use("ann/1", 30))
    assert row(law, "ann").consumed == Amounts(30)


def test_an_id_that_is_allocated_again_starts_at_zero() -> None:
    law = Law(fleet(10_000)).given(allocate("ann", 1_000), use("ann", 400), c.ReleaseBudget(agent="ann"))
    law.given(allocate("ann", 50))
    assert (row(law, "ann").state, row(law, "ann").allocated, row(law, "ann").consumed) == (
        "open",
        Amounts(50),
        Amounts(0),
    )


def test_who_reports_without_an_account_has_a_row_and_is_no_open_agent() -> None:
    law = Law(fleet(10_000)).given(use("eve", 40), use("eve", 2))
    status = status_of(law)
    assert [stranger.agent for stranger in status.strangers] == ["eve"]
    assert (row(law, "eve").state, row(law, "eve").consumed, row(law, "eve").reports) == (
        "unallocated",
        Amounts(42),
        2,
    )
    assert (status.fleet.unallocated, status.fleet.unallocated_reports, status.fleet.agents_open) == (
        Amounts(42),
        2,
        0,
    )


def test_a_stop_a_throttle_and_a_warning_are_in_the_row_until_they_end() -> None:
    law = Law(fleet(10_000)).given(allocate("ann", 1_000), c.Stop(agent="ann", reason="enough"))
    law.given(p.WarnAgent(agent="ann", exhausted_in_seconds=90, method="average"))
    assert (row(law, "ann").state, row(law, "ann").stopped, row(law, "ann").warned) == ("stopped", "enough", True)
    law.given(c.Resume(agent="ann"))
    assert (row(law, "ann").state, row(law, "ann").stopped) == ("open", None)


# --- holds and the fleet ---------------------------------------------------------------------------------------------


def test_a_hold_has_a_row_as_long_as_it_stands() -> None:
    law = Law(fleet(10_000)).given(allocate("ann", 1_000), hold("ann", "h-1", 30), hold("ann", "h-2", 5))
    law.given(c.CancelHold(hold="h-1"))
    keeper = MemoryKeeper()
    catch_up(stored(law.log), keeper)
    assert keeper.row("holds", "h-1") is None
    assert keeper.row("holds", "h-2") == b'{"hold":"h-2","agent":"ann","amount":{"tokens":5}}'


def test_the_fleets_row_follows_pool_reserve_overdraft_and_the_response() -> None:
    law = Law(fleet(1_000, emergency_reserve_percent=10)).given(allocate("ann", 500), use("ann", 1_100))
    kept = status_of(law).fleet
    assert (kept.total, kept.pool, kept.reserve, kept.overdraft) == (
        Amounts(1_000),
        Amounts(0),
        Amounts(0),
        Amounts(100),
    )
    assert (kept.response, kept.agents_open, kept.position) == ("stop_all", 1, len(law.log))
    assert kept.alerts == len([event for event in law.log if type(event).__name__ == "AlertRaised"])


def test_a_new_period_counts_from_zero() -> None:
    law = Law(fleet(1_000, period="day")).given(allocate("ann", 500), use("ann", 200)).wait(86_400)
    law.given(use("ann", 30))
    kept = status_of(law).fleet
    assert (kept.consumed, kept.total, kept.opening) == (Amounts(30), Amounts(1_000), Amounts(200))


def test_a_guessed_cost_is_flagged_until_its_model_has_a_price() -> None:
    law = Law(fleet(cost="100"), p.LoadPrices(prices={"known": {"input": 1, "output": 1}}))
    law.given(c.ReportUsage(agent="ann", usage=budget(1_000_000), model="new-model"))
    assert status_of(law).fleet.unpriced == {"new-model": 1_000_000_000}
    law.given(p.LoadPrices(prices={"known": {"input": 1, "output": 1}, "new-model": {"input": 2, "output": 3}}))
    assert status_of(law).fleet.unpriced == {}


# --- reading at a position -------------------------------------------------------------------------------------------


def test_the_views_can_be_read_as_they_were_at_a_position_and_at_a_time() -> None:
    law = Law(fleet(10_000)).given(allocate("ann", 1_000)).wait(10).given(use("ann", 100))
    then = len(law.log)
    law.wait(10).given(use("ann", 300))
    store = stored(law.log)
    for at in (then, law.log[then - 1].at):
        status = Status(status_at(store, at))
        assert (status.fleet.position, status.agents["ann"].consumed) == (then, Amounts(100))


@pytest.mark.parametrize("at", [0, 99, START.replace(year=2020)])
def test_what_the_log_does_not_reach_is_an_error(at: object) -> None:
    with pytest.raises(NotThere):
        status_at(stored(Law(fleet(10)).log), at)  # type: ignore[arg-type]


def test_a_missing_record_stops_the_fold_with_its_position() -> None:
    log = Law(fleet(10_000)).given(allocate("ann", 1_000), use("ann", 1), use("ann", 2)).log
    store = stored(log[:3])
    gap = [record for record in stored(log).read() if record.position != 4]
    store._log = stored([])._log
    store.append([Record(*record) for record in gap[:-1]])
    write(store, log[4:])
    with pytest.raises(BrokenChain, match="position 4"):
        catch_up(store, MemoryKeeper())
