"""``tallystick limits``, ``send approve-limit --limit`` and ``audit explain`` of limits, for people and programs."""

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.cli.main import main
from tallystick.config.loader import from_mapping

LIMITS = [
    {"name": "user-total", "per": "label:user", "window": "total", "max": {"tokens": 1_000, "cost_usd": 5}},
    {"name": "calls", "match": {"product": "shop"}, "window": {"days": 7}, "max": {"requests": 10}, "then": "wait"},
]


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/fleet.db"
    with Fleet.open(
        url, from_mapping({"total_budget": {"tokens": 10_000, "cost_usd": "50"}, "limits": LIMITS})
    ) as fleet:
        for message in (
            {"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 5_000, "cost_usd": "9"}, "product": "shop",
             "labels": {"user": "u-1"}},
            {"type": "ReportUsage", "agent": "ann", "usage": {"tokens": 850, "cost_usd": "0.5"}, "operation": "draft"},
            {"type": "Reserve", "id": "call-1", "agent": "ann", "estimate": {"tokens": 100}},
        ):  # fmt: skip
            assert "ok" in fleet.ask(message)
        assert fleet.ask({"type": "Reserve", "agent": "ann", "estimate": {"tokens": 51}})["error"]["code"] == (
            "limit_reached"
        )
    return url


def run(*arguments: str, code: int = 0) -> Result:
    found = CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})
    assert found.exit_code == code, found.output
    return found


def test_limits_are_shown_nearest_to_exhaustion_first(url: str) -> None:
    text = run("limits", "--store", url).stdout
    for part in (
        "user-total",
        "u-1",
        "95 %",
        "850 tokens",
        "100 tokens",
        "50 tokens",
        "calls",
        "7 days rolling",
        "wait",
    ):
        assert part in text
    assert text.index("user-total") < text.index("calls")


def test_eighty_columns_of_a_terminal_cut_off_no_figure(url: str) -> None:
    terminal = {"COLUMNS": "80", "LINES": "24", "FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm"}
    found = CliRunner().invoke(main, ["limits", "--store", url], env=terminal)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", found.stdout).splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in found.stdout
    for part in ("user-total", "u-1, total", "95 %", "850 tokens", "100 tokens", "50 tokens", "7 days rolling", "wait"):
        assert part in found.stdout


def test_json_is_what_the_manager_answers(url: str) -> None:
    with Fleet.open(url) as fleet:
        answer: Any = fleet.ask({"type": "GetLimits", "limit": "user-total"})["ok"]
    assert json.loads(run("limits", "--store", url, "--limit", "user-total", "--json").stdout) == answer
    assert answer["limits"][0]["left"] == {"tokens": 50, "cost_usd": "4.50"}


def test_the_limits_of_an_agent_of_a_value_and_of_a_moment_can_be_asked_for(url: str) -> None:
    assert "calls" in run("limits", "--store", url, "--agent", "ann").stdout
    assert "calls" not in run("limits", "--store", url, "--limit", "user-total", "--value", "u-1").stdout
    assert "850 tokens" not in run("limits", "--store", url, "--at", "3").stdout
    assert (
        "no limit call is in force; did you mean 'calls'?"
        in run("limits", "--store", url, "--limit", "call", code=1).stderr
    )


def test_an_operator_raises_a_limit_by_the_command_line(url: str) -> None:
    words = ("send", "--store", url, "approve-limit", "--limit", "user-total", "--value", "u-1")
    answer = json.loads(run(*words, "--max", '{"tokens": 2000, "cost_usd": 7.5}').stdout)["ok"]
    assert answer["limits"][0]["max"] == {"tokens": 2_000, "cost_usd": "7.50"}
    assert answer["limits"][0]["raised_until"] == "revoked"
    assert "raised until revoked" in run("limits", "--store", url).stdout
    assert json.loads(run(*words, "--max", "{}").stdout)["ok"]["limits"][0]["max"]["tokens"] == 1_000
    assert "--max: found 'many'" in run(*words, "--max", "many", code=2).stderr


def test_a_refusal_an_alert_and_a_raise_are_explained(url: str) -> None:
    run("send", "--store", url, "approve-limit", "--limit", "user-total", "--max", '{"tokens": 2000}')
    log = [json.loads(line) for line in run("audit", "export", "--store", url, "--format", "jsonl").stdout.splitlines()]
    said = {}
    for record in log:
        said[record["type"]] = run("audit", "explain", "--store", url, str(record["position"])).stdout
    line = said["limit-line.v1"]
    assert "limit user-total of u-1 came to 80 %: 850 tokens of 1,000 tokens" in line
    assert "it counts per label:user in a window: total (limits, in force since position 1)" in line
    refused = said["request-refused.v1"]
    assert "limit_reached: limit user-total of u-1: tokens is 1000 (total): 850 is used, 100 held" in refused
    assert "limit user-total of u-1 came to 80 %" in refused
    raised = said["limit-raised.v1"]
    assert "limit user-total was raised to 2,000 tokens until it is revoked" in raised
    assert "configured is 1,000 tokens, 5.00 cost_usd" in raised


def test_the_status_of_a_fleet_with_limits_is_shown_from_views(url: str) -> None:
    assert "ann" in run("status", "--store", url).stdout


def test_a_log_with_limits_is_verified_by_deciding_it_anew(url: str) -> None:
    run("send", "--store", url, "approve-limit", "--limit", "calls", "--max", '{"requests": 20}')
    assert "all as recorded" in run("audit", "verify", "--store", url).stdout


def test_status_says_what_limits_are_in_the_way_now_and_as_it_was_then(url: str) -> None:
    before = json.loads(run("limits", "--store", url, "--json", "--limit", "user-total").stdout)
    assert before["limits"][0]["used"]["tokens"] == 850
    end = json.loads(run("audit", "verify", "--store", url, "--json").stdout)["events"]
    with Fleet.open(url) as fleet:
        assert "ok" in fleet.ask({"type": "ReportUsage", "agent": "ann", "usage": {"tokens": 150}})
    now = json.loads(run("status", "--agent", "ann", "--json", "--store", url).stdout)
    assert (now["action"], now["decided_by"]) == ("stop", "limit:user-total")
    assert [one["code"] for one in now["obstacles"]] == ["limit_reached"]
    assert "limit_reached: limit user-total of u-1" in run("status", "--agent", "ann", "--store", url).stdout
    then = json.loads(run("status", "--agent", "ann", "--json", "--store", url, "--at", str(end)).stdout)
    assert (then["action"], then["obstacles"]) == ("continue", [])


def test_limits_of_the_day_are_shown_too(url: str) -> None:
    shown = json.loads(run("limits", "--store", url, "--json").stdout)["limits"]
    assert [one["limit"] for one in shown] == ["user-total", "calls"]
    with Fleet.open(url) as fleet:
        assert "ok" in fleet.ask({"type": "LoadConfig", "config": {"daily_limits": {"max_tokens_total": 950}}})
    shown = json.loads(run("limits", "--store", url, "--json").stdout)["limits"]
    assert (shown[0]["limit"], shown[0]["used"]) == ("daily", {"tokens": 850})


# --- limits of accounts ----------------------------------------------------------------------------------------------


@pytest.fixture
def team(tmp_path: Path) -> str:
    """Members under limits of their own, one of which opened by itself."""
    url = f"sqlite:///{tmp_path}/team.db"
    daily = {"window": "day", "max": {"cost_usd": 2}}
    auto = {"parent": "team", "limits": [{"window": "month", "max": {"cost_usd": 5}}]}
    config = {"total_budget": {"cost_usd": "50"}, "accounts": {"auto": auto}}
    with Fleet.open(url, from_mapping(config)) as fleet:
        for message in (
            {"type": "AllocateBudget", "agent": "team", "budget": {"cost_usd": "20"}},
            {"type": "AllocateBudget", "agent": "ann", "parent": "team", "limits": [daily]},
            {"type": "ReportUsage", "agent": "ann", "usage": {"cost_usd": "1.8"}},
            {"type": "ReportUsage", "agent": "ben", "usage": {"cost_usd": "5"}},
        ):  # fmt: skip
            assert "ok" in fleet.ask(message)
        refused = fleet.ask({"type": "Reserve", "agent": "ben", "estimate": {"cost_usd": "0.5"}})
        assert refused["error"]["code"] == "limit_reached"
    return url


def test_limits_of_accounts_are_shown_and_raised(team: str) -> None:
    shown = json.loads(run("limits", "--store", team, "--json").stdout)["limits"]
    assert [(one["limit"], one["percentage"]) for one in shown] == [("ben/1", 1.0), ("ann/1", 0.9)]
    raised = run("send", "--store", team, "approve-limit", "--limit", "ben/1", "--max", '{"cost_usd": "9"}')
    assert '"max":{"cost_usd":"9.00"}' in raised.stdout


def test_status_shows_the_limits_of_an_account_without_a_carve_out(team: str) -> None:
    text = run("status", "--store", team, "--agent", "ann").stdout
    assert "ann/1: at most 2.00 cost_usd (day)" in text
    assert "90 %" in text
    assert "$0.20" in text
    status = json.loads(run("status", "--store", team, "--agent", "ben", "--json").stdout)
    assert status["limits"] == [{"limit": "ben/1", "max": {"cost_usd": "5"}, "window": "month"}]
    assert (status["allocated"], status["percentage"], status["status"]) == ({}, 1.0, "black")


def test_an_account_without_a_carve_out_has_used_as_much_of_its_limits_wherever_it_is_shown(tmp_path: Path) -> None:
    """Also between changes of its level, and after the end of its window; what is held is taken, and not used."""
    url, clock = f"sqlite:///{tmp_path}/shown.db", ManualClock(dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC))
    own = {"window": {"hours": 5, "from": "first_use"}, "max": {"tokens": 1_000}}
    with Fleet.open(url, from_mapping({"total_budget": {"tokens": 50_000}}), clock=clock) as fleet:
        for message in (
            {"type": "AllocateBudget", "agent": "ann", "limits": [own]},
            {"type": "ReportUsage", "agent": "ann", "usage": {"tokens": 960}},
            {"type": "ReportUsage", "agent": "ann", "usage": {"tokens": 30}},
            {"type": "AllocateBudget", "agent": "ben", "limits": [own]},
            {"type": "ReportUsage", "agent": "ben", "usage": {"tokens": 400}},
            {"type": "Reserve", "agent": "ben", "estimate": {"tokens": 100}, "ttl_seconds": 60},
        ):
            assert "ok" in fleet.ask(message)

    def shown(at: str) -> dict[str, tuple[int, int, int, float]]:
        table = run("status", "--store", url, "--at", at).stdout
        found = {}
        for agent in ("ann", "ben"):
            (line,) = [line for line in table.splitlines() if f"│ {agent} " in line]
            alone = json.loads(run("status", "--store", url, "--at", at, "--agent", agent, "--json").stdout)
            whole = json.loads(run("status", "--store", url, "--at", at, "--json").stdout)["agent_statuses"]
            (row,) = [one for one in whole if one["agent"] == agent]
            (limit,) = json.loads(run("limits", "--store", url, "--at", at, "--agent", agent, "--json").stdout)[
                "limits"
            ]
            assert alone["percentage"] == row["percentage"]
            assert alone["status"] == row["status"]
            assert row["status"] in line
            in_table = int(line.split(" %")[0].split()[-1])
            found[agent] = (
                in_table,
                int(alone["percentage"] * 100),
                round(limit["percentage"] * 100),
                limit["used"]["tokens"],
            )
        return found

    assert shown("2026-03-04T12:00:30Z") == {"ann": (99, 99, 99, 990), "ben": (40, 40, 50, 400)}
    assert shown("2026-03-04T17:00:00Z") == {"ann": (0, 0, 0, 0), "ben": (0, 0, 10, 0)}


def test_explain_says_how_an_account_opened_by_itself_and_which_limit_its_level_is_of(team: str) -> None:
    log = [
        json.loads(line) for line in run("audit", "export", "--store", team, "--format", "jsonl").stdout.splitlines()
    ]
    opened = next(one["position"] for one in log if one.get("auto"))
    text = run("audit", "explain", "--store", team, str(opened)).stdout
    assert "ben opened by itself with no carve-out below team" in text
    assert "at most 5.00 cost_usd (month) (ben/1)" in text
    black = next(one["position"] for one in log if one.get("level") == "black")
    assert "ben went from green to black at 100 % of its limit ben/1 (cost_usd)" in run(
        "audit", "explain", "--store", team, str(black)
    ).stdout.replace("\n", " ")
    refused = next(one["position"] for one in log if one.get("code") == "limit_reached")
    assert "ben/1" in run("audit", "explain", "--store", team, str(refused)).stdout


def test_an_audit_decides_limits_of_accounts_anew_and_what_if_takes_them_away(team: str, tmp_path: Path) -> None:
    assert run("audit", "verify", "--store", team).exit_code == 0
    policy = tmp_path / "no-auto.yml"
    policy.write_text("accounts: {auto: null}\n", encoding="utf-8")
    answer = json.loads(run("whatif", "--store", team, "--config", str(policy), "--json").stdout)
    assert answer["agents"]


def test_the_counters_of_a_limit_are_shown_in_pages_by_value(url: str) -> None:
    page = json.loads(run("limits", "--limit", "user-total", "--after", "", "--json", "--store", url).stdout)
    assert [one["value"] for one in page["limits"]] == ["u-1"]
    page = json.loads(run("limits", "--limit", "user-total", "--after", "u-1", "--json", "--store", url).stdout)
    assert page == {"limits": [], "counters": 2}
    assert "found without --limit" in run("limits", "--after", "", "--store", url, code=2).output
