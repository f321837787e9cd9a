"""The whole demonstration: the same every time, obeyed, and accounted for."""

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tallystick.actors.fleet import Fleet
from tallystick.config.loader import from_mapping
from tallystick.config.settings import Config
from tallystick.demo.agent import Outcome
from tallystick.demo.generate import generate
from tallystick.demo.plan import grants, too_small
from tallystick.demo.proof import prove
from tallystick.demo.screen import Nobody
from tallystick.demo.show import run
from tallystick.demo.summary import Summary, for_machines
from tallystick.demo.tally import Tally
from tallystick.demo.trace import COLUMNS, read_trace
from tallystick.demo.workload import Workload
from tallystick.events.store import open_store

TRACE = [
    ",".join(COLUMNS),
    "careful,x,shop,1,0,2,m,100,10,0,0.001",
    "careful,x,shop,2,2,3,m,200,20,50,0.002",
    "plain,x,shop,1,1,4,m,250,50,0,0.0005",
]
"""630 tokens and $0.0035 in all: 330 and 300 tokens, by a critical run and a normal one."""


def small_trace(folder: Path) -> Workload:
    file = folder / "small.csv"
    file.write_text("\n".join(TRACE), encoding="utf-8")
    return read_trace(file)


def shown(workload: Workload, config: Config, store: str = "memory:", speed: float | None = None) -> Summary:
    return run(workload, config, open_store(store, writer=True), speed, Nobody(), Tally(), threading.Event())


def tokens(total: int) -> Config:
    return from_mapping({"total_budget": {"tokens": total}})


def test_the_generated_fleet_gives_the_same_log_every_time_and_at_every_speed() -> None:
    workload = generate()
    config = too_small(workload)
    first, again = shown(workload, config), shown(workload, config, speed=1000)
    assert first.proof.problem is None
    assert first.proof.digest == again.proof.digest
    assert first.proof.position == again.proof.position == first.tally.events


def test_the_generated_fleet_shows_all_that_there_is_to_see() -> None:
    workload = generate()
    summary = shown(workload, too_small(workload))
    tally = summary.tally
    assert summary.count(Outcome.FINISHED) > len(summary.agents) / 2
    assert summary.left_out
    assert all(tally.reached(level) for level in ("yellow", "orange", "red", "black"))
    assert tally.reclaims
    assert tally.top_ups
    assert tally.borrows
    assert tally.covers
    assert any(tally.from_reserve)
    assert tally.warned_early
    assert "stop" in tally.responses
    assert {"HoldSettled", "UsageReported", "AlertRaised", "PoolExhausted"} <= tally.kinds.keys()


def test_with_enough_for_all_the_figures_are_those_of_the_trace(tmp_path: Path) -> None:
    workload = small_trace(tmp_path)
    config = tokens(10_000)
    # 9,000 outside the reserve, by the weights 1.0 and 0.5.
    assert grants(workload, config) == [(6000, None, None), (3000, None, None)]
    summary = shown(workload, config)
    assert summary.count(Outcome.FINISHED) == 2
    assert summary.proof.recorded == summary.proof.ledger == (630, 9000, 3_500_000)
    assert summary.quality is not None
    assert (summary.quality.utilization.tokens, summary.quality.fairness.tokens) == (0.07, 1.0)
    assert summary.tally.unused == (9000 - 630, 0, 0)


def test_with_too_little_the_debt_and_who_is_left_out_can_be_worked_out_by_hand(tmp_path: Path) -> None:
    # 300: a reserve of 30, grants of 180 and 90. `plain` uses 300 in its one step: 210 too many, of which the reserve
    # pays 30 and nobody 180. `careful` has used 110 of 180 when it needs 1.25 x 110: it is refused, and lacks 220.
    summary = shown(small_trace(tmp_path), tokens(300))
    careful, plain = summary.agents
    assert (plain.outcome, plain.reported[0]) == (Outcome.FINISHED, 300)
    assert (careful.outcome, careful.done, careful.reported[0], careful.lacked[0]) == (Outcome.STOPPED, 1, 110, 220)
    assert summary.tally.covered[0] == 210
    assert (summary.tally.from_reserve[0], summary.tally.into_debt[0]) == (30, 180)
    # The 70 that `careful` leaves behind repay as much of the debt.
    assert summary.status["overdraft"]["tokens"] == 110
    assert summary.proof.ledger[0] == 410
    assert summary.proof.problem is None


def test_a_cost_that_the_trace_does_not_know_is_priced_by_the_house_and_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "priced.csv"
    line = "r,x,shop,1,0,2,claude-sonnet-5-5,1000,100,0,"
    file.write_text(f"{TRACE[0]}\n{line}\n", encoding="utf-8")
    workload = read_trace(file)
    proof = shown(workload, from_mapping({"total_budget": {"tokens": 10_000}})).proof
    assert proof.problem is None
    assert proof.reported[2] == 0
    assert proof.priced[2] == proof.ledger[2] > 0


def test_no_agent_works_after_a_stop_until_it_is_told_that_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, str] = {}
    stops = 0
    ask = Fleet.ask

    def listen(fleet: Fleet, message: Any, by: str = "local", timeout: float = 30.0) -> Any:
        nonlocal stops
        replies = ask(fleet, message, by, timeout)
        if isinstance(message, Sequence):
            for sent, reply in zip(message, replies, strict=True):
                agent = str(sent.id).rpartition(".")[0]
                works = type(sent).__name__ in ("ReportUsage", "Settle", "Reserve")
                assert not (works and told.get(agent) == "stop"), f"{agent} worked on"
                action = reply.get("ok", {}).get("action")
                if action is not None:
                    told[agent] = action
                    stops += action == "stop"
        return replies

    monkeypatch.setattr(Fleet, "ask", listen)
    workload = generate()
    shown(workload, too_small(workload))
    assert stops > 10


def test_it_ends_at_once_when_it_is_told_to_and_what_was_done_is_accounted_for() -> None:
    workload, stop = generate(), threading.Event()

    class Impatient(Nobody):
        def look(self, campaign: Any, ask: Any) -> None:
            if campaign.steps_done > 100:
                stop.set()

    store = open_store("memory:", writer=True)
    summary = run(workload, too_small(workload), store, None, Impatient(), Tally(), stop)
    assert summary.interrupted
    assert 100 < sum(agent.done for agent in summary.agents) < 300
    assert summary.proof.problem is None
    assert for_machines(summary, [])["interrupted"] is True


def test_a_changed_log_is_not_accounted_for(tmp_path: Path) -> None:
    path = tmp_path / "fleet.db"
    summary = shown(small_trace(tmp_path), tokens(10_000), f"sqlite:///{path}")
    assert summary.proof.problem is None
    with sqlite3.connect(path) as connection:
        (table,) = connection.execute(
            "SELECT name FROM sqlite_master WHERE sql LIKE '%originator_version%state%'"
        ).fetchone()
        changed = connection.execute(
            f"UPDATE {table} SET state = CAST(replace(CAST(state AS TEXT), '\"tokens\":300', '\"tokens\":200') AS BLOB)"
            " WHERE topic = 'usage-reported.v1'"
        )
        assert changed.rowcount
    store = open_store(f"sqlite:///{path}")
    problem = prove(store, summary.proof.reported).problem
    store.close()
    assert problem is not None
    assert "the digest does not match" in problem


def test_a_report_that_is_missing_from_the_log_is_not_accounted_for(tmp_path: Path) -> None:
    store = open_store("memory:", writer=True)
    summary = run(small_trace(tmp_path), tokens(10_000), store, None, Nobody(), Tally(), threading.Event())
    more = (summary.proof.reported[0] + 1, *summary.proof.reported[1:])
    problem = prove(store, (more[0], more[1], more[2])).problem
    assert problem is not None
    assert problem.startswith("the sums differ")
