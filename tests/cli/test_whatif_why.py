"""Why histories differ, in words: proposals, what agents were answered, orders that were passed over, and the rest."""

import datetime as dt
from pathlib import Path
from typing import Any

from tallystick.actors.manager import Manager
from tallystick.actors.runtime.messages import Envelope
from tallystick.config.amounts import Amounts, Budget
from tallystick.config.loader import parse, to_mapping
from tallystick.events import messages as c
from tallystick.events.log.codec import GENESIS, encode_command
from tallystick.events.log.store import open_store
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger
from tests.support.cli import Run, lines
from tests.support.whatif_cli import LIMITS, answer, message, report

MOVING = LIMITS.replace("enabled: false", "interval_seconds: 10")


def happened(run: Run, folder: Path, story: list[dict[str, Any]], limits: str = LIMITS) -> None:
    """A fleet in the test's folder to which a story happened."""
    (folder / "limits.yml").write_text(limits, encoding="utf-8")
    (folder / "story.jsonl").write_text(lines(story), encoding="utf-8")
    result = run("simulate", "story.jsonl", "--config", "limits.yml", "--store", "sqlite:///tallystick.db")
    assert result.exit_code == 0, result.stderr


def other(folder: Path, text: str) -> str:
    (folder / "other.yml").write_text(text, encoding="utf-8")
    return "other.yml"


IDLE = [
    message(0, type="AllocateBudget", agent="idle", budget={"tokens": 1000}),
    {"at": "2026-03-04T12:01:30Z", "type": "ReportUsage", "agent": "idle", "usage": {"tokens": 1}},
]


def test_a_plan_that_no_specialist_would_propose(run: Run, tmp_path: Path) -> None:
    happened(run, tmp_path, IDLE, MOVING)
    first = answer(run, "--config", other(tmp_path, LIMITS))["first_difference"]
    assert (first["request"], first["by"]) == (None, "reallocator")
    assert first["difference"].endswith("2026-03-04 12:01:00Z: proposed by the reallocator")
    assert first["recorded"]["text"].startswith("500 tokens moved from idle to the pool (idle)")
    (rule,) = first["recorded"]["why"]
    assert rule.endswith("50 % of what remains goes back (reallocation, in force since position 1)")
    assert first["what_if"] == {"text": "the specialists propose nothing", "why": []}


def test_a_plan_that_the_log_s_settings_do_not_call_for_yet(run: Run, tmp_path: Path) -> None:
    happened(run, tmp_path, IDLE, MOVING.replace("interval_seconds: 10", "interval_seconds: 10, idle_seconds: 70"))
    told = answer(run, "--config", other(tmp_path, MOVING))
    first = told["first_difference"]
    assert first["what_if"]["text"].startswith("500 tokens moved from idle to the pool (idle)")
    assert (
        first["recorded"]["text"] == "by the log's settings the specialists would have proposed nothing at this moment"
    )
    assert told["specialists_anew_from"]["at"] == "2026-03-04T12:01:00Z"


def test_a_plan_of_other_amounts(run: Run, tmp_path: Path) -> None:
    happened(run, tmp_path, IDLE, MOVING)
    settings = MOVING.replace("interval_seconds: 10", "interval_seconds: 10, reclaim_fraction: 0.25")
    first = answer(run, "--config", other(tmp_path, settings))["first_difference"]
    assert first["recorded"]["text"].startswith("500 tokens moved from idle to the pool (idle)")
    assert first["what_if"]["text"].startswith("250 tokens moved from idle to the pool (idle)")


def test_a_plan_that_the_log_has_a_moment_later_is_reported_as_it_was_proposed(run: Run, tmp_path: Path) -> None:
    """The specialists of a live fleet are a little late: another message may come between a plan and its moment."""
    store = open_store("sqlite:///tallystick.db", writer=True)
    manager, noon = Manager(Ledger(), store, GENESIS), dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC)
    plan = p.Move("idle", "pool", Amounts(tokens=500), "idle for 60 s: 50.0 % of what remained", "idle")
    for seconds, by, command in (
        (0, "op", c.LoadConfig(config=to_mapping(parse(MOVING, "limits.yml")), id="config")),
        (0, "op", c.AllocateBudget(agent="idle", budget=Budget(tokens=1000), id="a")),
        (60.0005, "x", c.ReportUsage(agent="nobody", usage=Budget(tokens=1), id="r")),
        (60.0012, "reallocator", p.ApplyMoves(moves=[plan], id="~rebalance")),
    ):
        at = noon + dt.timedelta(seconds=seconds)
        manager.take(Envelope([command], [encode_command(command)], by, None), at)
        manager.commit(at)
    store.close()
    settings = MOVING.replace("interval_seconds: 10", "interval_seconds: 10, reclaim_fraction: 0.25")
    first = answer(run, "--config", other(tmp_path, settings))["first_difference"]
    assert (first["request"], first["by"], first["position"]) == (None, "reallocator", 6)
    assert first["what_if"]["text"].startswith("250 tokens moved from idle to the pool (idle)")
    assert first["recorded"]["text"].startswith("500 tokens moved from idle to the pool (idle)")
    same = answer(run, "--config", other(tmp_path, MOVING))
    assert same["differs"] is False


def test_a_warning_that_comes_only_under_the_other_policy(run: Run, tmp_path: Path) -> None:
    story = [
        message(0, type="AllocateBudget", agent="ann", budget={"tokens": 1000}),
        report(10, "ann", 200),
        report(20, "ann", 100),
    ]
    happened(run, tmp_path, story, LIMITS + "enforcement: {warn_before_exhaustion_seconds: 5}\n")
    first = answer(run, "--config", other(tmp_path, LIMITS))["first_difference"]
    assert first["what_if"]["text"].startswith("ann was warned: its budget would be used up in")
    assert first["recorded"]["text"].endswith("would have proposed nothing at this moment")


def test_what_an_agent_is_answered_where_no_decision_differs(run: Run, tmp_path: Path) -> None:
    slow = message(1, type="ReportUsage", agent="ann", usage={"tokens": 800, "time_seconds": 6}, by="ann")
    happened(run, tmp_path, [message(0, type="AllocateBudget", agent="ann", budget={"tokens": 1000}), slow])
    told = answer(run, "--config", other(tmp_path, LIMITS + "enforcement: {throttle_rate: 0.25}\n"))
    first = told["first_difference"]
    assert first["recorded"]["text"] == "ann was instructed to throttle at 0.5 of normal speed, to wait 6 s (by level)"
    assert first["what_if"]["text"] == "ann was instructed to throttle at 0.25 of normal speed, to wait 18 s (by level)"
    (ann,) = told["agents"]
    assert (ann["recorded"]["told_to_wait_seconds"], ann["what_if"]["told_to_wait_seconds"]) == (6, 18)


def test_another_model_to_degrade_to_is_reported(run: Run, tmp_path: Path) -> None:
    use = message(1, type="ReportUsage", agent="ann", model="sonnet", usage={"tokens": 950, "cost_usd": "0"}, by="ann")
    happened(run, tmp_path, [message(0, type="AllocateBudget", agent="ann", budget={"tokens": 1000}), use])
    sonnet = "sonnet: {provider: anthropic, id: claude-sonnet-5-5, degrades_to: tiny}"
    models = f"models: {{tiny: {{provider: x, id: tiny-1}}, {sonnet}}}\n"
    first = answer(run, "--config", other(tmp_path, LIMITS + models))["first_difference"]
    assert first["recorded"]["text"].endswith("and to use haiku (by level)")
    assert first["what_if"]["text"].endswith("and to use tiny (by level)")


def test_an_agent_that_is_not_there_has_no_level(run: Run, tmp_path: Path) -> None:
    story = [
        message(0, type="AllocateFromPool", agent="ann", request={"tokens": 9000}),
        report(1, "ann", 6000),
    ]
    happened(run, tmp_path, story)
    told = answer(
        run, "--config", other(tmp_path, LIMITS.replace("max_pool_share_percent: 100", "max_pool_share_percent: 50"))
    )
    assert told["first_difference"]["what_if"]["text"].startswith(
        "AllocateFromPool of ann was refused, pool_share_exceeded"
    )
    assert told["saved"]["because"]["no_account"]["tokens"] == 6000


def test_an_expiry_that_comes_later_is_time_that_passed(run: Run, tmp_path: Path) -> None:
    story = [
        message(0, type="AllocateBudget", agent="ann", budget={"tokens": 1000}),
        message(1, type="Reserve", agent="ann", estimate={"tokens": 10}, id="h", ttl_seconds=30),
        message(2, type="Heartbeat", hold="h"),
        report(50, "ann", 1),
        message(51, type="LoadConfig", config={"total_budget": {"tokens": 20_000}}),
        message(52, type="LoadConfig", config={"total_budget": {"tokens": 30_000}}),
        message(53, type="SetTotalBudget", budget={"tokens": 40_000}),
    ]
    happened(run, tmp_path, story)
    told = answer(run, "--config", "limits.yml", "--total", "tokens=10000")
    assert told["question"]["passed_over"] == {"configurations": 2, "price_lists": 0, "totals": 1}
    assert "2 later configurations of the log change nothing here." in told["assumptions"]
    assert "A later total of the log changes nothing here." in told["assumptions"]


def test_no_limit_can_be_asked_about(run: Run, tmp_path: Path) -> None:
    happened(run, tmp_path, [message(0, type="AllocateBudget", agent="ann", budget={"tokens": 20_000})])
    told = answer(run, "--total", "tokens=none")
    assert told["question"]["total"] == {"tokens": None}
    assert {"key": "total_budget.tokens", "log": "10000", "what_if": "none"} in told["question"]["changes"]
    assert told["first_difference"]["what_if"]["text"].startswith("ann was opened with 20,000 tokens")
    assert told["what_if"]["at_the_end"]["total"] == {}


def test_a_settlement_that_the_log_refused_is_reported_as_an_assumption(run: Run, tmp_path: Path) -> None:
    story = [
        message(0, type="AllocateBudget", agent="ann", budget={"tokens": 1000}),
        message(1, type="Reserve", agent="ann", estimate={"tokens": 1100}, id="h"),
        message(2, type="BorrowFromPool", agent="ann", amount={"tokens": 100}),
        message(3, type="Settle", hold="h", usage={"tokens": 50}),
    ]
    happened(run, tmp_path, [story[0], story[1], story[3]], LIMITS)
    told = answer(run, "--total", "tokens=100000")
    assert told["differs"] is False
    slow = message(1, type="ReportUsage", agent="bob", usage={"tokens": 800, "time_seconds": 50}, by="bob")
    (tmp_path / "tallystick.db").unlink()
    story = [
        message(0, type="AllocateBudget", agent="bob", budget={"tokens": 1000}),
        slow,
        message(2, type="Reserve", agent="bob", estimate={"tokens": 10}, id="h"),
        message(3, type="Settle", hold="h", usage={"tokens": 5}),
    ]
    happened(run, tmp_path, story)
    told = answer(run, "--config", other(tmp_path, LIMITS + "enforcement: {throttle_at: 0.9}\n"))
    assert told["what_if"]["tokens"] == told["recorded"]["tokens"] + 5
    assert "Settlements that the log refused, and the other policy records, are counted as used." in told["assumptions"]


def test_many_settings_that_differ_are_cut_short_for_people(run: Run, tmp_path: Path) -> None:
    happened(run, tmp_path, [message(0, type="AllocateBudget", agent="ann", budget={"tokens": 10})])
    many = "token_budgets: {" + ", ".join(f"type-{n}: 5" for n in range(30)) + "}\n"
    shown = run("whatif", "--config", other(tmp_path, LIMITS + many)).stdout
    assert shown.count("changed  ") == 20
    assert "and 10 more settings: --json has all" in shown
