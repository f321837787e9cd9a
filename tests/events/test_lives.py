"""An account is one life: what belongs to a released account never reaches another that is opened under its id."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.catalog.forecasts import Prediction
from tallystick.events.log import snapshot
from tallystick.events.messages import proposals as p
from tests.support.core import Core, allocate, complete, fleet, hold, settle, start, submit, tokens, use
from tests.support.lives import run

QUIET = {"enforcement": {"warn_before_exhaustion_seconds": 0}}


def test_a_late_settlement_is_paid_by_the_parent_that_its_account_had() -> None:
    core = Core(
        fleet(100_000),
        allocate("boss", 10_000),
        allocate("w", 1_000, parent="boss", product="A"),
        hold("w", "h-old", 500),
        c.ReleaseBudget(agent="w"),
        allocate("w", 200, product="B"),
    )
    core.given(settle("h-old", 450))
    event = core.only(e.UsageReported)
    assert (event.charged, event.product, event.late, event.account) == ("boss", "A", True, None)
    assert core.status("w").consumed == tokens(0)
    assert core.status("boss").consumed == tokens(450)
    assert core.ledger.day.by_product == {"A": 450}


def test_a_late_report_of_a_sub_agent_is_not_paid_by_a_later_account_of_its_parents_id() -> None:
    core = Core(
        fleet(1_000, **QUIET),
        allocate("p", 300),
        allocate("c", 100, parent="p"),
        c.ReleaseBudget(agent="p"),
        allocate("p", 100),
    )
    core.given(use("c", 100))
    assert core.only(e.UsageReported).charged is None
    assert core.status("p").consumed == tokens(0)
    assert core.pool[0] == 1_000 - 100 - 100


def test_a_late_report_is_paid_by_the_nearest_ancestor_that_is_still_the_same() -> None:
    core = Core(
        fleet(10_000),
        allocate("top", 5_000),
        allocate("mid", 1_000, parent="top"),
        allocate("low", 100, parent="mid"),
        c.ReleaseBudget(agent="mid"),
        allocate("mid", 50),
    )
    core.given(use("low", 30))
    assert core.only(e.UsageReported).charged == "top"
    assert core.status("mid").consumed == tokens(0)


def test_of_several_released_accounts_of_an_id_each_late_settlement_belongs_to_its_own() -> None:
    core = Core(fleet(10_000), allocate("left", 1_000), allocate("right", 1_000))
    for parent, product in (("left", "A"), ("right", "B")):
        core.given(
            allocate(
                "w", 100, parent=parent, product=product, agent_type=f"type-{product}", workflow=f"flow-{product}"
            ),
            hold("w", f"h-{parent}", 50),
            c.ReleaseBudget(agent="w"),
        )
    core.given(settle("h-left", 10), settle("h-right", 20))
    event = core.only(e.UsageReported)
    assert (event.agent_type, event.workflow) == ("type-B", "flow-B")
    assert [core.status(name).consumed for name in ("left", "right")] == [tokens(10), tokens(20)]
    assert core.ledger.day.by_product == {"A": 10, "B": 20}


def test_a_late_settlement_while_its_own_account_is_open_is_its_own() -> None:
    core = Core(fleet(1_000), allocate("w", 100), hold("w", "h", 50, ttl_seconds=10)).wait(11)
    core.given(settle("h", 40))
    assert core.only(e.UsageReported).account == "w"
    assert core.status("w").consumed == tokens(40)


def test_what_a_run_of_a_task_used_too_late_is_not_paid_by_a_later_account_of_its_parents_id() -> None:
    core = Core(
        fleet(1_000_000),
        allocate("boss", 500_000),
        submit("t", parent="boss"),
    )
    lease = core.ledger.tasks.running["t"].lease
    core.given(complete("t", lease), c.ReleaseBudget(agent="boss"), allocate("boss", 1_000))
    core.given(c.ReportUsage(task="t", lease=lease, usage=use("x", 70).usage))
    event = core.only(e.UsageReported)
    assert (event.charged, event.product, event.agent_type) == (None, "shop", "backend-engineer")
    assert core.status("boss").consumed == tokens(0)


def test_a_late_report_of_a_sub_agent_of_a_lost_run_is_not_paid_by_the_next_run() -> None:
    core = Core(fleet(1_000_000), submit("t"), allocate("t/1", 100, parent="t")).wait(121)
    core.pass_time().given(start("t"))
    core.given(use("t/1", 60))
    assert core.only(e.UsageReported).charged is None
    assert core.status("t").consumed == tokens(0)


def test_a_hold_is_settled_late_however_long_ago_it_ended() -> None:
    core = Core(fleet(10_000), allocate("boss", 1_000), allocate("w", 100, parent="boss"), hold("w", "h", 50))
    core.given(c.ReleaseBudget(agent="w"))
    for _ in range(60):
        core.wait(3_600).given(use("boss", 1))
    core.given(settle("h", 40))
    event = core.only(e.UsageReported)
    assert (event.charged, event.late, event.hold) == ("boss", True, "h")
    core.when(settle("h", 40))
    core.then_refused("already_settled")


def test_only_so_many_ended_holds_are_kept_beyond_the_memory_of_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.events.state.ledger.LATE_KEPT", 2)
    core = Core(fleet(10_000), allocate("w", 1_000))
    for number in range(4):
        core.given(hold("w", f"h-{number}", 50, ttl_seconds=1)).wait(2)
    for _ in range(30):
        core.wait(3_600).given(use("w", 1))
    for number in (0, 1):
        core.when(settle(f"h-{number}", 10))
        core.then_refused("unknown_hold")
    core.given(settle("h-2", 10), settle("h-3", 10))


def test_a_restart_forgets_no_life() -> None:
    core = Core(
        fleet(10_000),
        allocate("boss", 5_000),
        allocate("w", 100, parent="boss", product="A"),
        hold("w", "h", 50),
        c.ReleaseBudget(agent="boss"),
        allocate("w", 100, product="B"),
        hold("w", "h-2", 50),
        c.ReleaseBudget(agent="w"),
    )
    loaded = snapshot.load(snapshot.dump(core.ledger))
    assert loaded is not None
    assert (loaded.lives, loaded.released) == (core.ledger.lives, core.ledger.released)
    assert (loaded.ended_holds, list(loaded.released_order)) == (
        core.ledger.ended_holds,
        list(core.ledger.released_order),
    )
    assert snapshot.dump(loaded) == snapshot.dump(core.ledger)


# --- what specialists propose is for the account that they saw ----------------------------------------


def _of_another_life(core: Core, command: Any) -> None:
    core.when(command)
    core.then_refused("plan_out_of_date")


def test_a_plan_for_a_released_account_does_not_touch_the_next_one_of_its_id() -> None:
    core = Core(fleet(10_000), allocate("w", 1_000))
    seen = core.account("w").opened_at
    core.wait(100).given(c.ReleaseBudget(agent="w"), allocate("w", 1_000))
    move = p.Move("w", "pool", Amounts(500), "idle", "idle", seen)
    _of_another_life(core, p.ApplyMoves(moves=[move], asked=True))
    core.given(p.ApplyMoves(moves=[p.Move("w", "pool", Amounts(500), "idle", "idle", core.account("w").opened_at)]))


def test_a_warning_and_a_forecast_for_a_released_account_are_not_for_the_next_one_of_its_id() -> None:
    core = Core(fleet(10_000), allocate("w", 1_000))
    seen = core.account("w").opened_at
    core.wait(100).given(c.ReleaseBudget(agent="w"), allocate("w", 1_000))
    core.when(p.WarnAgent(agent="w", exhausted_in_seconds=9, method="average", opened_at=seen))
    assert not core.account("w").warned
    one = Prediction(
        dimension="tokens", stage=3, mark=900, step=4, predicted=9.0, low=8.0, high=11.0, baseline=12.0,
        confidence=None, method="linear_growth",
    )  # fmt: skip
    core.when(p.RecordForecast(agent="w", why="stage", predictions=[one], opened_at=seen))
    assert core.account("w").forecasts is None


# --- the property --------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_whatever_is_released_reopened_and_reported_late_each_life_keeps_its_own(seed: int) -> None:
    """Against a naive model that keeps every life for ever: who is charged, and for which product, at every step."""
    run(Random(seed), 60)
