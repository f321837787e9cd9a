"""Rows of the views: given a log, then these rows; and for any log, what the core itself says."""

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.store import Record
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import GlobalStatus, shown
from tallystick.events.state.accounts import Account
from tallystick.projections.reports.status import Status
from tallystick.projections.store.as_of import NotThere, views_at
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.runner import catch_up
from tallystick.projections.store.view_store import MemoryViewStore
from tallystick.projections.views.agent_rows import AgentRow
from tallystick.projections.views.fleet import FleetRow
from tests.support.both_ends import both_ends
from tests.support.core import START, Core, allocate, budget, fleet, hold, use
from tests.support.eventful import eventful, row, run
from tests.support.examples import examples
from tests.support.strategies import Step, commands
from tests.support.view_logs import status_of, stored, write

PROFILE = settings(
    max_examples=examples(120),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)

SEEN = (
    set(Account.__struct_fields__)
    - {"parent", "parent_id", "payers_above", "held", "holds", "children", "dims"}
    - {
        # What an agent is still to be answered, and how long it has to wait: the manager's business.
        *("model", "pace_ms", "pool_notice", "warning"),
        # How its usage grows, and what was forecast of it: only forecasts need it.
        *("forecasts", "growth"),
        # When a lease ends: each message moves it, and no event says so.
        *("leased", "heard_at"),
        # What daily limits are counted by: the core's business.
        *("run", "budget_product"),
    }
)


# --- any log ---------------------------------------------------------------------------------------------------------


@PROFILE
@given(commands())
def test_the_views_say_what_the_core_answers_after_any_sequence_of_commands(steps: list[Step]) -> None:
    core = run(steps)
    status = status_of(core)
    queries = status.queries(core.now)

    answer = core.when(c.GetGlobalStatus(limit=1_000))
    assert isinstance(answer, GlobalStatus)
    said = queries.global_status()
    for one in answer.agent_statuses:
        one.lease_expires_at = None
    said.agent_statuses = [queries.budget_status(agent) for agent in sorted(status.agents)]
    assert said == answer

    for name, account in core.ledger.accounts.items():
        drawn = queries.account(name)
        assert {slot: getattr(drawn, slot) for slot in SEEN} == {slot: getattr(account, slot) for slot in SEEN}
    for answered in answer.agent_statuses:
        kept = status.agents[answered.agent]
        for name in ("allocated", "delegated", "consumed", "held", "overrun", "remaining"):
            assert shown(getattr(kept, name).triple) == getattr(answered, name), name
        assert (kept.percentage, kept.level, kept.state) == (answered.percentage, answered.status, answered.state)


@PROFILE
@given(commands(), st.integers(0, 2**32))
def test_rows_do_not_depend_on_pages_nor_on_when_the_fold_was_restored(steps: list[Step], seed: int) -> None:
    store = stored(run(steps).log)
    last = store.last()
    assert last is not None
    dice = Random(seed)
    pieces, whole = MemoryViewStore(), MemoryViewStore()
    catch_up(store, whole)
    projector = Projector(store, pieces)
    while projector.position < last.position:
        if dice.random() < 0.5:
            projector = Projector(store, pieces)
        projector.catch_up(upto=min(last.position, projector.position + dice.randint(1, 9)))
    assert pieces.live() == whole.live()
    assert pieces._rows == whole._rows


def test_a_fold_can_be_restored_behind_any_event() -> None:
    core = eventful()
    store, pieces = stored(core.log), MemoryViewStore()
    for position in range(1, len(core.log) + 1):
        assert Projector(store, pieces).catch_up(upto=position) == position
        assert pieces._rows == views_at(store, position)._rows, f"behind event {position}"


def test_the_eventful_fleet_leaves_no_field_of_a_row_at_rest() -> None:
    seen = set()
    for core, position in [(one, n + 1) for one in (eventful(), *both_ends()) for n in range(len(one.log))]:
        status = Status(views_at(stored(core.log), position))
        for kept in (status.fleet, *status.agents.values(), *status.unallocated, *filter(None, [status.agent("dee")])):
            seen |= {(type(kept), name) for name in kept.__struct_fields__ if getattr(kept, name) not in RESTING}
    fields = {(kind, name) for kind in (AgentRow, FleetRow) for name in kind.__struct_fields__}
    assert not fields - seen


def test_both_ends_of_a_delegation_are_in_the_rows() -> None:
    at_parent, at_child = both_ends()
    team = row(at_parent, "team").child
    assert team is not None
    assert (team.fleet, team.number, team.booked, team.returned) == ("f-1", 2, 9, Amounts(300))
    fleet_row = status_of(at_child).fleet
    assert (fleet_row.granted, fleet_row.given_back) == (Amounts(1_000), Amounts(200))
    assert fleet_row.booked == max(event.upto for event in at_child.log if isinstance(event, e.RangeReported))
    assert fleet_row.why_paused == "by the parent: team was stopped"
    for core in (at_parent, at_child):
        store, pieces = stored(core.log), MemoryViewStore()
        for position in range(1, len(core.log) + 1):
            Projector(store, pieces).catch_up(upto=position)
            assert pieces._rows == views_at(store, position)._rows, f"behind event {position}"


RESTING = (None, Amounts(), 0, False, "", {}, (), "none")


# --- agents ----------------------------------------------------------------------------------------------------------


def test_an_agents_row_carries_its_labels_and_its_money() -> None:
    core = Core(fleet(10_000))
    core.given(
        allocate("ann", 1_000, priority="high", agent_type="qa", product="shop", workflow="w-1"),
        allocate("ann/1", 200, parent="ann"),
        use("ann", 100),
        use("ann/1", 50),
        hold("ann", "h-1", 30),
    )
    ann, sub = row(core, "ann"), row(core, "ann/1")
    assert (ann.agent_type, ann.product, ann.workflow, ann.priority, ann.state) == ("qa", "shop", "w-1", "high", "open")
    assert ann.allocated == Amounts(1_000)
    assert ann.delegated == Amounts(200)
    assert ann.consumed == Amounts(100)
    assert ann.held == Amounts(30)
    assert ann.remaining == Amounts(670)
    assert ann.percentage == 0.125
    assert (ann.opened_at, ann.last_report_at, ann.released_at, ann.reports) == (START, START, None, 1)
    assert (sub.parent, sub.consumed) == ("ann", Amounts(50))


def test_what_no_account_limits_is_shown_where_it_was_used() -> None:
    core = Core(fleet(10_000)).given(allocate("ann", 1_000), use("ann", 10, "0.5"))
    assert row(core, "ann").consumed == Amounts(10, None, 500_000_000)


def test_what_black_gave_back_does_not_raise_the_percentage() -> None:
    core = Core(fleet(10_000, "100", enforcement={"stop_at": "0.95"})).given(allocate("ann", 1_000, "5"))
    core.given(use("ann", 960, "1"))
    ann = row(core, "ann")
    assert (ann.level, ann.given_back, ann.percentage) == ("black", Amounts(None, None, 4_000_000_000), 0.96)


def test_a_released_agents_row_stays_as_it_was_and_says_when() -> None:
    core = Core(fleet(10_000)).given(allocate("ann", 1_000), use("ann", 400)).wait(5)
    core.given(c.ReleaseBudget(agent="ann"))
    ann = row(core, "ann")
    assert (ann.state, ann.allocated, ann.consumed, ann.released_at) == (
        "released",
        Amounts(1_000),
        Amounts(400),
        core.now,
    )
    assert not status_of(core).agents


def test_a_late_report_is_shown_beside_what_the_released_agent_had_used() -> None:
    core = Core(fleet(10_000)).given(allocate("ann", 1_000), use("ann", 400), c.ReleaseBudget(agent="ann"))
    core.given(use("ann", 7), use("ann", 2))
    assert (row(core, "ann").consumed, row(core, "ann").late) == (Amounts(400), Amounts(9))


def test_a_late_report_of_a_sub_agent_is_charged_to_its_parent() -> None:
    core = Core(fleet(10_000)).given(allocate("ann", 1_000), allocate("ann/1", 100, parent="ann"))
    core.given(c.ReleaseBudget(agent="ann/1"), use("ann/1", 30))
    assert row(core, "ann").consumed == Amounts(30)


def test_an_id_that_is_allocated_again_starts_at_zero() -> None:
    core = Core(fleet(10_000)).given(allocate("ann", 1_000), use("ann", 400), c.ReleaseBudget(agent="ann"))
    core.given(allocate("ann", 50))
    assert (row(core, "ann").state, row(core, "ann").allocated, row(core, "ann").consumed) == (
        "open",
        Amounts(50),
        Amounts(0),
    )


def test_who_reports_without_an_account_has_a_row_and_is_no_open_agent() -> None:
    core = Core(fleet(10_000)).given(use("eve", 40), use("eve", 2))
    status = status_of(core)
    assert [row.agent for row in status.unallocated] == ["eve"]
    assert (row(core, "eve").state, row(core, "eve").consumed, row(core, "eve").reports) == (
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
    core = Core(fleet(10_000)).given(allocate("ann", 1_000), c.Stop(agent="ann", reason="enough"))
    core.given(p.WarnAgent(agent="ann", exhausted_in_seconds=90, method="average"))
    assert (row(core, "ann").state, row(core, "ann").stopped, row(core, "ann").warned) == ("stopped", "enough", True)
    core.given(c.Resume(agent="ann"))
    assert (row(core, "ann").state, row(core, "ann").stopped) == ("open", None)


# --- holds and the fleet ---------------------------------------------------------------------------------------------


def test_a_hold_has_a_row_as_long_as_it_stands() -> None:
    core = Core(fleet(10_000)).given(allocate("ann", 1_000), hold("ann", "h-1", 30), hold("ann", "h-2", 5))
    core.given(c.CancelHold(hold="h-1"))
    view_store = MemoryViewStore()
    catch_up(stored(core.log), view_store)
    assert view_store.row("holds", "h-1") is None
    assert view_store.row("holds", "h-2") == b'{"hold":"h-2","agent":"ann","amount":{"tokens":5}}'


def test_the_fleets_row_follows_pool_reserve_overdraft_and_the_response() -> None:
    core = Core(fleet(1_000, emergency_reserve_percent=10)).given(allocate("ann", 500), use("ann", 1_100))
    kept = status_of(core).fleet
    assert (kept.total, kept.pool, kept.reserve, kept.overdraft) == (
        Amounts(1_000),
        Amounts(0),
        Amounts(0),
        Amounts(100),
    )
    assert (kept.response, kept.agents_open, kept.position) == ("stop_all", 1, len(core.log))
    assert kept.alerts == len([event for event in core.log if type(event).__name__ == "AlertRaised"])


def test_a_new_period_counts_from_zero() -> None:
    core = Core(fleet(1_000, period="day")).given(allocate("ann", 500), use("ann", 200)).wait(86_400)
    core.given(use("ann", 30))
    kept = status_of(core).fleet
    assert (kept.consumed, kept.total, kept.opening) == (Amounts(30), Amounts(1_000), Amounts(200))


def test_a_guessed_cost_is_flagged_until_its_model_has_a_price() -> None:
    core = Core(fleet(cost="100"), p.LoadPrices(prices={"known": {"input": 1, "output": 1}}))
    core.given(c.ReportUsage(agent="ann", usage=budget(1_000_000), model="new-model"))
    assert status_of(core).fleet.unpriced == {"new-model": 1_000_000_000}
    core.given(p.LoadPrices(prices={"known": {"input": 1, "output": 1}, "new-model": {"input": 2, "output": 3}}))
    assert status_of(core).fleet.unpriced == {}


# --- reading at a position -------------------------------------------------------------------------------------------


def test_the_views_can_be_read_as_they_were_at_a_position_and_at_a_time() -> None:
    core = Core(fleet(10_000)).given(allocate("ann", 1_000)).wait(10).given(use("ann", 100))
    then = len(core.log)
    core.wait(10).given(use("ann", 300))
    store = stored(core.log)
    for at in (then, core.log[then - 1].at):
        status = Status(views_at(store, at))
        assert (status.fleet.position, status.agents["ann"].consumed) == (then, Amounts(100))


@pytest.mark.parametrize("at", [0, 99, START.replace(year=2020)])
def test_what_the_log_does_not_reach_is_an_error(at: object) -> None:
    with pytest.raises(NotThere):
        views_at(stored(Core(fleet(10)).log), at)  # type: ignore[arg-type]


def test_a_missing_record_stops_the_fold_with_its_position() -> None:
    log = Core(fleet(10_000)).given(allocate("ann", 1_000), use("ann", 1), use("ann", 2)).log
    store = stored(log[:3])
    gap = [record for record in stored(log).read() if record.position != 4]
    store._log = stored([])._log
    store.append([Record(*record) for record in gap[:-1]])
    write(store, log[4:])
    with pytest.raises(BrokenChain, match="position 4"):
        catch_up(store, MemoryViewStore())
