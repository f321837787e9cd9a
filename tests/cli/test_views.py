"""``report``, ``metrics`` and ``forecast``, as people and programs call them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tallystick.actors.runtime.clock import ManualClock
from tallystick.cli.main import main
from tallystick.config.loader import from_mapping
from tallystick.fleet import Fleet
from tests.support.core import START
from tests.support.runs import allocate, run_of, work


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four runs that ended, one that ran out of budget, and one under way."""
    url = f"sqlite:///{tmp_path_factory.mktemp('fleet')}/fleet.db"
    clock = ManualClock(START)
    config = from_mapping({"total_budget": {"tokens": 10**8, "period": "none"}, "reallocation": {"enabled": False}})
    with Fleet.open(url, config, clock=clock) as fleet:
        for number in range(4):
            run_of(fleet, clock, f"run-{number}")
        allocate(fleet, "short", 10_000)
        work(fleet, clock, "short", [1_000 + 100 * step for step in range(9)])
        fleet.ask({"type": "ReleaseBudget", "agent": "short"})
        budget = {"tokens": 20_000}
        labels = {"agent_type": "qa", "workflow": "checkout"}
        fleet.ask({"type": "AllocateBudget", "agent": "now", "budget": budget, **labels})
        work(fleet, clock, "now", [1_000, 1_100, 1_200])
    return url


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--store", url], env={"COLUMNS": "200"})


def done(url: str, *arguments: str) -> str:
    result = run(url, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_report_is_markdown_of_the_whole_fleet_or_of_a_workflow(url: str) -> None:
    text = done(url, "report")
    assert text.startswith("# The whole fleet\n")
    assert "6 agents (1 open, 5 released)" in text
    assert "1 agent ran out of budget" in text
    assert done(url, "report", "--workflow", "checkout").startswith("# Workflow checkout\n")


def test_a_report_for_machines_has_every_agent(url: str) -> None:
    found = json.loads(done(url, "report", "--json"))
    assert sorted(agent["agent"] for agent in found["agents"]) == sorted(
        [*(f"run-{n}" for n in range(4)), "short", "now"]
    )
    assert found["summary"]["stops"] == 1


def test_a_report_as_it_was_then(url: str) -> None:
    assert json.loads(done(url, "report", "--json", "--at", "30"))["position"] == 30


def test_the_message_is_answered_with_the_same_report(url: str, tmp_path: Path) -> None:
    with Fleet.open(url) as fleet:
        reply = fleet.ask({"type": "GenerateReport", "workflow": "checkout"})["ok"]
    markdown = reply.pop("markdown")
    at = ("--workflow", "checkout", "--at", str(reply["position"]))
    assert reply == json.loads(done(url, "report", *at, "--json"))
    assert markdown == done(url, "report", *at)


def test_a_workflow_without_agents_is_an_error(url: str) -> None:
    result = run(url, "report", "--workflow", "chekout")
    assert result.exit_code == 1
    assert result.stderr.startswith("tallystick: no agent ever belonged to a workflow 'chekout'")


def test_metrics_lay_forecasts_beside_the_average_rate(url: str) -> None:
    found = json.loads(done(url, "metrics", "--json"))
    tokens = found["forecasts"]["tokens"]
    assert tokens["accuracy"] > tokens["baseline"]
    assert found["utilization"]["aim"] == 0.85
    assert found["coverage"] is None
    shown = done(url, "metrics")
    assert "forecasts of tokens, by share of the budget consumed" in shown


def test_forecasts_of_agents_of_all_together_and_of_the_day(url: str) -> None:
    found = json.loads(done(url, "forecast", "--json", "--at", "2026-03-04T13:00:00Z"))
    (one,) = found["agents"]
    assert (one["agent"], one["steps"]) == ("now", 3)
    assert one["predictions"][0]["method"] == "linear_growth"
    together = found["together"]["tokens"]
    assert together["used"] < together["expected"]
    assert together["low"] <= together["expected"] <= together["high"]
    assert found["date"] == "2026-03-04"
    assert found["day"]["tokens"]["used"] == together["used"]
    assert "when budgets will be used up, soonest first" in done(url, "forecast")


def test_a_forecast_of_an_unknown_agent_is_an_error_that_says_what_it_takes(url: str) -> None:
    result = run(url, "forecast", "--agent", "nobody")
    assert result.exit_code == 1
    assert "there is no forecast for an open agent 'nobody': that takes two reports" in result.stderr
