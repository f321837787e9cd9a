"""A running child and its parent on one machine: what each learns of the other, and when."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tallystick import Fleet
from tallystick.delegation.link import BehindParent
from tests.support.few_prices import few_prices
from tests.support.programs import until

QUIET: dict[str, Any] = {"circuit_breaker": {"trip_conditions": []}}


@pytest.fixture
def top(tmp_path: Path) -> Any:
    with Fleet.open(
        f"sqlite:///{tmp_path}/top.db", {"total_budget": {"tokens": 100_000}, **QUIET}, few_prices()
    ) as one:
        budget = {"tokens": 1_000}
        answer = one.ask({"type": "AllocateBudget", "agent": "team", "budget": budget, "delegated": True})
        assert "ok" in answer
        yield one


def reopened(folder: Path) -> Fleet:
    return Fleet.open(f"sqlite:///{folder}/top.db", None, few_prices())


def team(folder: Path) -> Fleet:
    delegate = {"parent": f"sqlite:///{folder}/top.db", "account": "team", "budget": {"tokens": 10_000}}
    return Fleet.open(f"sqlite:///{folder}/team.db", {"delegate": delegate, **QUIET}, few_prices())


def delegation_of(fleet: Fleet) -> Any:
    return fleet.ask({"type": "GetGlobalStatus", "limit": 0})["ok"]["delegation"]


def account(fleet: Fleet) -> Any:
    return fleet.ask({"type": "GetStatus", "agent": "team"})["ok"]


def test_a_child_has_what_it_keeps_at_hand_when_it_is_open(top: Fleet, tmp_path: Path) -> None:
    with team(tmp_path) as child:
        assert delegation_of(child)["granted"] == {"tokens": 10_000 + 100}
        assert account(top)["allocated"] == {"tokens": 10_100}


def test_what_a_request_was_refused_for_is_drawn_at_once(top: Fleet, tmp_path: Path) -> None:
    with team(tmp_path) as child:
        asked = {"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 30_000}}
        assert child.ask(asked)["error"]["code"] == "pool_exhausted"
        until(lambda: "ok" in child.ask(asked))


def test_use_is_booked_and_a_stop_of_the_parent_reaches_the_agents(top: Fleet, tmp_path: Path) -> None:
    with team(tmp_path) as child:
        child.ask({"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 500}})
        child.ask({"type": "ReportUsage", "agent": "ann", "usage": {"tokens": 700}})
        until(lambda: account(top)["consumed"] == {"tokens": 700})
        top.ask({"type": "PauseAll", "reason": "lunch"})
        check = {"type": "CheckEnforcement", "agent": "ann"}
        until(lambda: child.ask(check)["ok"]["decided_by"] == "parent")
        top.ask({"type": "ResumeAll"})
        until(lambda: child.ask(check)["ok"]["decided_by"] != "parent")


def test_a_child_that_is_opened_while_its_parent_is_away_waits_for_it_and_records_what_is_used(tmp_path: Path) -> None:
    with team(tmp_path) as child:
        refused = child.ask({"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 5}})
        assert refused["error"]["code"] == "paused"
        assert "has not been asked" in refused["error"]["detail"]
        assert child.ask({"type": "ReportUsage", "agent": "ann", "usage": {"tokens": 7}})["ok"]["action"] == "stop"


def test_a_second_fleet_with_the_same_account_has_nothing(top: Fleet, tmp_path: Path) -> None:
    team(tmp_path).close()
    (tmp_path / "team.db").rename(tmp_path / "first.db")
    for beside in tmp_path.glob("team.db-*"):
        beside.unlink()
    with team(tmp_path) as second:
        assert "is the total of the fleet" in delegation_of(second)["stopped"]
        assert delegation_of(second)["granted"] == {}


def test_an_old_copy_that_has_grown_while_its_parent_was_away_refuses_to_open(top: Fleet, tmp_path: Path) -> None:
    file, copy = tmp_path / "team.db", tmp_path / "copy.db"
    used = {"type": "ReportUsage", "agent": "ann", "usage": {"tokens": 7}}
    with team(tmp_path) as child:
        child.ask({"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 500}})
    shutil.copy(file, copy)
    with team(tmp_path) as child:
        # No draw and no return, whose numbers would show it.
        child.ask(used)
        until(lambda: account(top)["child"]["booked"] > 0)
        known = account(top)["child"]
    assert known["number"] == 1, "the draw at the first opening"
    top.close()
    shutil.copy(copy, file)
    with team(tmp_path) as child:
        while child.ask({"type": "GetStatus", "agent": "ann"})["ok"]["consumed"]["tokens"] < 7 * known["booked"]:
            child.ask(used)
    with reopened(tmp_path), pytest.raises(BehindParent, match="an old copy"):
        team(tmp_path)


def test_a_running_child_that_learns_that_its_log_is_an_old_copy_stops(top: Fleet, tmp_path: Path) -> None:
    with team(tmp_path) as child:
        child.ask({"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 500}})
        fleet = account(top)["child"]["fleet"]
        # The parent has heard from another copy of this log, which has come further.
        said = {"fleet": fleet, "number": 9}
        top.ask({"type": "ReturnToPool", "agent": "team", "amount": {"tokens": 1}, "child": said})
        until(lambda: child.halted is not None)
        assert "an old copy" in (child.halted or "")
