"""``tallystick status``, as people and programs call it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tallystick.actors.runtime.fleet import Fleet
from tallystick.cli.main import main
from tallystick.config.loader import from_mapping
from tallystick.events.messages.replies import BudgetStatus, GlobalStatus

CONFIG = from_mapping({"total_budget": {"tokens": 100_000, "cost_usd": "50"}})
ASKED = [
    {"type": "AllocateBudget", "agent": "a-1", "budget": {"tokens": 1000, "cost_usd": "5"}, "product": "shop"},
    {"type": "AllocateBudget", "agent": "a-2", "budget": {"tokens": 3000}},
    {"type": "AllocateBudget", "agent": "old", "budget": {"tokens": 10}},
    {"type": "ReportUsage", "agent": "a-1", "usage": {"tokens": 799, "cost_usd": "1.476"}},
    {"type": "ReportUsage", "agent": "a-2", "usage": {"tokens": 30}},
    {"type": "ReleaseBudget", "agent": "old"},
    {"type": "ReportUsage", "agent": "eve", "usage": {"tokens": 7}},
]


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/fleet.db"
    with Fleet.open(url, CONFIG) as fleet:
        for message in ASKED:
            assert "ok" in fleet.ask(message)
    return url


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, ["status", *arguments], env={"COLUMNS": "200", **environment})


def read(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_table_shows_the_fleet_and_its_agents_most_used_first(url: str) -> None:
    text = run("--store", url).stdout
    assert "100,000 tokens, $50.00" in text
    assert "2 open: 1 green, 1 orange" in text
    assert text.index("a-1") < text.index("a-2")
    # 79.9 % and 1.476 dollars: shares are floored, money is rounded half-up to cents.
    assert "79 %" in text
    assert "799 of 1,000" in text
    assert "$1.48 of $5.00" in text
    assert "unallocated: eve used 7 tokens without an account" in text
    assert "\x1b" not in text


def test_tasks_are_counted_and_an_open_breaker_is_reported(url: str) -> None:
    assert "breaker" not in run("--store", url).stdout
    task = {"type": "SubmitTask", "agent_type": "writer", "product": "shop"}
    limits = {"max_concurrent": {"total": 1}, "token_budgets": {"default": 100}, "daily_limits": {"max_cost_usd": 100}}
    with Fleet.open(url, from_mapping(limits)) as fleet:
        for name in ("t", "u"):
            assert "ok" in fleet.ask({**task, "task": name})
        fleet.ask({"type": "ReportUsage", "agent": "a-2", "usage": {"cost_usd": "101"}})
    text = run("--store", url).stdout
    assert "1 running, 1 waiting for a slot" in text
    assert "open: cost_daily_usd > daily_limits.max_cost_usd" in text
    said = read("--store", url)
    assert (said["tasks_running"], said["tasks_waiting"]) == (1, 1)
    assert said["breaker"] == "cost_daily_usd > daily_limits.max_cost_usd"


def test_no_more_agents_than_the_limit_are_listed_and_the_rest_is_counted(url: str) -> None:
    text = run("--store", url, "--limit", "1").stdout
    assert "and 1 more" in text
    assert "a-2" not in text


def test_json_has_the_names_and_numbers_of_the_managers_own_answer(url: str) -> None:
    with Fleet.open(url) as fleet:
        answer = fleet.ask({"type": "GetGlobalStatus"})["ok"]
        said = read("--store", url)
    # How far clocks are apart is left out where they are not, and a parent and bills where there are none.
    assert set(GlobalStatus.__struct_fields__) - {"clock_apart_seconds", "delegation", "bills"} <= set(said)
    said["agent_statuses"].sort(key=lambda status: status["agent"])
    for status in (*answer["agent_statuses"], *said["agent_statuses"]):
        # Only accounts with a lease say when it ends, and delegated ones whose they are.
        assert set(BudgetStatus.__struct_fields__) - {"lease_seconds", "lease_expires_at", "child"} == set(status)
        del status["idle_seconds"]
    assert {name: said[name] for name in answer} == answer
    assert said["utilization"] == {"tokens": 0.206733, "time_seconds": None, "cost_usd": 0.2952}
    assert said["agents_by_level"] == {"green": 1, "yellow": 0, "orange": 1, "red": 0, "black": 0}
    assert [stranger["agent"] for stranger in said["unallocated"]] == ["eve"]


def test_one_agent_open_released_or_without_an_account(url: str) -> None:
    assert read("--store", url, "--agent", "a-1")["remaining"] == {"tokens": 201, "cost_usd": "3.524"}
    released = read("--store", url, "--agent", "old")
    assert (released["state"], released["action"]) == ("released", None)
    assert released["released_at"] is not None
    assert read("--store", url, "--agent", "eve")["state"] == "unallocated"
    assert "799 tokens, $1.48" in run("--store", url, "--agent", "a-1").stdout


def test_what_would_refuse_the_next_hold_is_shown_as_the_manager_says_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/day.db"
    config = {"daily_limits": {"max_tokens_total": 500}, "products": {"shop": {"token_budget_daily": 60}}}
    with Fleet.open(url, from_mapping(config)) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 1_000}, "product": "shop"})
        fleet.ask({"type": "ReportUsage", "agent": "ann", "usage": {"tokens": 20}})
        fleet.ask({"type": "Reserve", "agent": "ann", "estimate": {"tokens": 40}})
        answer = fleet.ask({"type": "GetStatus", "agent": "ann"})["ok"]["obstacles"]
        shown = read("--store", url, "--agent", "ann")["obstacles"]
    assert [obstacle["decided_by"] for obstacle in answer] == ["limit:product-daily:shop"]
    for obstacle in (*answer, *shown):
        del obstacle["retry_after_seconds"]
    assert shown == answer
    assert "daily_limit_reached: the daily token budget of shop is 60" in run("--store", url, "--agent", "ann").stdout


def test_it_shows_what_was_at_a_position_and_at_a_time(url: str) -> None:
    now = read("--store", url)
    then = read("--store", url, "--at", "2")
    assert (then["position"], then["agent_count"]) == (2, 0)
    assert read("--store", url, "--at", now["at"])["position"] == now["position"]


def test_it_reads_while_another_process_runs_the_fleet(url: str) -> None:
    with Fleet.open(url) as fleet:
        before = read("--store", url)["position"]
        fleet.ask({"type": "ReportUsage", "agent": "a-2", "usage": {"tokens": 1}})
        command = [sys.executable, "-m", "tallystick", "status", "--store", url, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["position"] > before
    assert done.stderr == ""


def test_it_reads_without_a_place_for_its_views(url: str, tmp_path: Path) -> None:
    (tmp_path / "fleet.db.views").mkdir()
    assert read("--store", url)["agent_count"] == 2


def test_the_store_may_be_named_in_the_environment(url: str) -> None:
    assert run(TALLYSTICK_STORE=url).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--agent", "nobody"], 1, "no agent 'nobody'"),
        (["--at", "9999"], 1, "there is no position 9999"),
        (["--at", "1999-01-01T00:00:00Z"], 1, "nothing had been recorded"),
        (["--at", "yesterday"], 2, "allowed is a position, or a time"),
        (["--limit", "0"], 2, "--limit"),
        (["--store", "sqlite:////no/such/fleet.db"], 1, "there is no fleet"),
        (
            ["--store", "fleet.db"],
            1,
            "postgresql://HOST/DATABASE?fleet=NAME and memory:; did you mean sqlite:///fleet.db?",
        ),
    ],
)
def test_a_mistake_is_one_line_on_stderr(url: str, arguments: list[str], code: int, said: str) -> None:
    result = run(*([] if "--store" in arguments else ["--store", url]), *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
