"""The whole demonstration: the same every time, obeyed, and accounted for."""

import datetime as dt
import io
import sqlite3
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tallystick.config.loader import from_mapping
from tallystick.config.settings import Config
from tallystick.demo.agent import Outcome
from tallystick.demo.generate import generate
from tallystick.demo.plan import too_small
from tallystick.demo.proof import prove
from tallystick.demo.screen import Lines, Quiet
from tallystick.demo.served import ServedFleet
from tallystick.demo.show import run
from tallystick.demo.stage import Stage
from tallystick.demo.summary import Summary, for_machines
from tallystick.demo.tally import Tally
from tallystick.demo.trace import COLUMNS, read_trace
from tallystick.demo.workload import Workload
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store import open_store

TRACE = [
    ",".join(COLUMNS),
    "careful,x,shop,1,0,2,m,100,10,0,0.001",
    "careful,x,shop,2,2,3,m,200,20,50,0.002",
    "plain,x,shop,1,1,4,m,250,50,0,0.0005",
]
"""630 tokens and $0.0035 in all: 330 and 300 tokens, by a critical run and a normal one."""


WORK = (c.ReportUsage, c.Settle, c.Reserve)


def small_trace(folder: Path) -> Workload:
    file = folder / "small.csv"
    file.write_text("\n".join(TRACE), encoding="utf-8")
    return read_trace(file)


def shown(workload: Workload, config: Config, store: str = "memory:", speed: float | None = None) -> Summary:
    return run(workload, config, open_store(store, writer=True), speed, Quiet(), Tally(), threading.Event())


def tokens(total: int, budget: int = 80_000, **more: Any) -> Config:
    return from_mapping({"total_budget": {"tokens": total}, "token_budgets": {"default": budget}, **more})


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
    tally, slots = summary.tally, summary.slots
    assert summary.count(Outcome.FINISHED) > len(summary.agents) / 2
    assert summary.left_out
    assert all(tally.reached(level) for level in ("yellow", "orange", "red", "black"))
    assert tally.moved("borrowed").times
    assert tally.moved("overruns_covered").times
    assert tally.warned_early
    assert sum(agent.throttled_ms for agent in summary.agents)
    assert {"throttle", "degrade"} <= set(tally.responses)
    assert {"HoldSettled", "UsageReported", "AlertRaised", "PoolExhausted", "TokenBudgetPassed"} <= tally.kinds.keys()
    assert slots.that_waited > 10
    assert tally.kinds["TaskPreempted"]
    assert tally.alerts["daily_cost_near"] == 1
    assert tally.kinds["LeaseLost"] == 0, "agents that obey give signs of life in time"


def test_its_tasks_wait_as_the_log_says_and_never_more_run_than_there_are_slots() -> None:
    workload = generate()
    store = open_store("memory:", writer=True)
    config = too_small(workload)
    summary = run(workload, config, store, None, Quiet(), Tally(), threading.Event())
    since: dict[str, dt.datetime] = {}
    running: set[str] = set()
    waited: Counter[str] = Counter()
    for record in store.read():
        match event := decode_event(record.data, record.name):
            case e.TaskQueued():
                since[event.task] = event.at
            case e.TaskStarted():
                running.add(event.task)
                waited[event.task] += (event.at - since.pop(event.task, event.at)) // dt.timedelta(milliseconds=1)
                assert len(running) <= (config.max_concurrent.total or 0)
            case e.TaskPreempted():
                running.remove(event.task)
                since[event.task] = event.at
            case e.TaskCompleted():
                running.remove(event.task)
    assert waited == summary.slots.waited_ms
    assert {agent.run.id for agent in summary.agents if agent.runs} == set(waited)
    assert set(since) == {agent.run.id for agent in summary.agents if agent.outcome is Outcome.REFUSED}
    told = for_machines(summary, [])["tasks"]
    assert told["slots"] == config.max_concurrent.total
    assert told["completed"] == summary.count(Outcome.FINISHED)
    assert told["max_wait_time_minutes"] == round(max(waited.values()) / 60_000, 2)
    assert 0 < told["slot_utilization"] < 1


def test_with_enough_for_all_the_figures_are_those_of_the_trace(tmp_path: Path) -> None:
    summary = shown(small_trace(tmp_path), tokens(10_000, budget=2000))
    assert summary.count(Outcome.FINISHED) == 2
    assert summary.proof.recorded == summary.proof.ledger == (630, 9000, 3_500_000)
    # Each was granted half as much again as its token budget.
    assert summary.tally.moved("unused_at_release").amount == (6000 - 630, 0, 0)
    assert (summary.slots.that_waited, summary.slots.ended["completed"]) == (0, 2)


def test_with_one_slot_the_wait_can_be_worked_out_by_hand(tmp_path: Path) -> None:
    # `careful` comes at 09:00:00 and works for 4 s; `plain` comes at 09:00:00 too, and waits so long.
    summary = shown(small_trace(tmp_path), tokens(10_000, budget=2000, max_concurrent={"total": 1}))
    slots = summary.slots
    assert slots.waited_ms == {"careful": 0, "plain": 4000}
    assert (slots.average_wait_ms, slots.longest_wait_ms, slots.that_waited) == (4000, 4000, 1)
    assert slots.utilization == 1.0
    assert summary.count(Outcome.FINISHED) == 2


def test_with_too_little_the_debt_and_who_is_left_out_can_be_worked_out_by_hand(tmp_path: Path) -> None:
    # 300: a reserve of 30, and 150 for a task. `careful` has used 110 of 150 when it needs 1.25 x 110: it is refused,
    # waits, gives up, and lacks 220. Then `plain` has its 150 of the 160 that are left, and uses 300 in its one step:
    # 150 too many, of which the pool covers 10, the reserve 30, and no account 110.
    summary = shown(small_trace(tmp_path), tokens(300, budget=100))
    careful, plain = summary.agents
    assert (careful.outcome, careful.done, careful.reported[0], careful.lacked[0]) == (Outcome.STOPPED, 1, 110, 220)
    assert (plain.outcome, plain.reported[0]) == (Outcome.FINISHED, 300)
    assert summary.tally.moved("overruns_covered").amount[0] == 150
    assert summary.tally.moved("taken_from_reserve").amount[0] == 30
    assert summary.tally.moved("taken_as_overdraft").amount[0] == 110
    assert summary.status["overdraft"]["tokens"] == 110
    assert summary.proof.ledger[0] == 410
    assert summary.proof.problem is None
    assert summary.slots.ended == {"failed": 1, "completed": 1}


def test_a_cost_that_the_trace_does_not_know_is_priced_by_the_fleet_and_distinguished(tmp_path: Path) -> None:
    file = tmp_path / "priced.csv"
    line = "r,x,shop,1,0,2,claude-sonnet-5-5,1000,100,0,"
    file.write_text(f"{TRACE[0]}\n{line}\n", encoding="utf-8")
    workload = read_trace(file)
    proof = shown(workload, tokens(10_000, budget=2000)).proof
    assert proof.problem is None
    assert proof.reported[2] == 0
    assert proof.priced[2] == proof.ledger[2] > 0


def test_no_agent_works_after_a_stop_until_an_answer_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, str] = {}
    lost: set[str] = set()
    stops = 0
    say = Stage.say

    def listen(stage: Stage, commands: list[c.Command], by: str, at: dt.datetime) -> Any:
        nonlocal stops
        replies = say(stage, commands, by, at)
        for sent, reply in zip(commands, replies, strict=True):
            agent = (sent.id or "").rpartition(".")[0]
            answer = reply.get("ok", {})
            assert not (isinstance(sent, WORK) and told.get(agent) == "stop"), f"{agent} worked on"
            assert getattr(sent, "lease", None) not in lost, f"{agent} worked on without its slot"
            if answer.get("lease_lost") or answer.get("preempted"):
                lost.add(sent.lease)  # type: ignore[attr-defined]
            # A step that runs when a sign of life is answered is ended and reported.
            elif "action" in answer and not isinstance(sent, c.Heartbeat):
                told[agent] = answer["action"]
                stops += answer["action"] == "stop"
        return replies

    monkeypatch.setattr(Stage, "say", listen)
    workload = generate()
    shown(workload, too_small(workload))
    assert stops > 10
    assert lost


def test_it_ends_at_once_when_it_is_asked_to_and_what_was_done_is_accounted_for() -> None:
    workload, stop = generate(), threading.Event()

    class Impatient(Quiet):
        def look(self, campaign: Any) -> None:
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
    summary = shown(small_trace(tmp_path), tokens(10_000, budget=2000), f"sqlite:///{path}")
    assert summary.proof.problem is None
    with sqlite3.connect(path) as connection:
        (table,) = connection.execute(
            "SELECT name FROM sqlite_master WHERE sql LIKE '%originator_version%state%'"
        ).fetchone()
        changed = connection.execute(
            f"UPDATE {table} SET state = CAST(replace(CAST(state AS TEXT), '300,', '200,') AS BLOB)"
            " WHERE instr(CAST(state AS TEXT), '300,')"
        )
        assert changed.rowcount
    store = open_store(f"sqlite:///{path}")
    problem = prove(store, summary.proof.reported).problem
    store.close()
    assert problem is not None
    assert "the digest at the end does not match the records" in problem


def test_a_report_that_is_missing_from_the_log_is_not_accounted_for(tmp_path: Path) -> None:
    store = open_store("memory:", writer=True)
    summary = run(small_trace(tmp_path), tokens(10_000, budget=2000), store, None, Quiet(), Tally(), threading.Event())
    more = (summary.proof.reported[0] + 1, *summary.proof.reported[1:])
    problem = prove(store, (more[0], more[1], more[2])).problem
    assert problem is not None
    assert problem.startswith("the sums differ")


def test_a_served_fleet_goes_on_when_all_runs_have_ended_and_says_so(tmp_path: Path) -> None:
    stop, said = threading.Event(), io.StringIO()

    class Patient(Lines):
        def over(self) -> None:
            super().over()
            stop.set()

    workload, store, tally = small_trace(tmp_path), open_store("memory:", writer=True), Tally()
    watcher = Patient(Console(file=said), tally, workload.steps)
    summary = run(workload, too_small(workload), store, None, watcher, tally, stop, ServedFleet(store))
    assert said.getvalue() == "all runs have ended; the dashboard shows the whole past until Ctrl-C\n"
    assert summary.proof.problem is None
