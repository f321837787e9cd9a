"""What was used is reported a day later: the commands that show costs and limits, and the proof of the whole log."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.cli.main import main
from tallystick.config.loader import from_mapping

BEGAN = dt.datetime(2026, 2, 27, 12, tzinfo=dt.UTC)
CONFIG = from_mapping(
    {
        "total_budget": {"tokens": 100_000, "cost_usd": "500"},
        "daily_limits": {"max_tokens_total": 1_000, "max_cost_usd": 50},
        "circuit_breaker": {"trip_conditions": []},
        "limits": [{"name": "plan", "window": "month", "max": {"tokens": 5_000}}],
        "reallocation": {"enabled": False},
    }
)


def used(tokens: int, cost: int, at: str, source: str | None = None, **rest: Any) -> dict[str, Any]:
    said = {"type": "ReportUsage", "agent": "ann", "usage": {"tokens": tokens, "cost_usd": cost}, "occurred_at": at}
    return {**said, **({} if source is None else {"source_id": source}), **rest}


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fleet of 27 February that learns on 2 March of what was used before: twice of m-1, the second time of more."""
    for name in ("TALLYSTICK_STORE", "TALLYSTICK_CONFIG", "TALLYSTICK_PRICES", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/fleet.db"
    opening = {"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 50_000, "cost_usd": 400}}
    with Fleet.open(url, CONFIG, clock=ManualClock(BEGAN)) as fleet:
        assert "ok" in fleet.ask({**opening, "product": "shop"})
    with Fleet.open(url, clock=ManualClock(BEGAN + dt.timedelta(days=3))) as fleet:
        for message in (
            used(900, 9, "2026-02-28T10:00:00Z", "m-1", model="opus"),
            used(1_200, 12, "2026-02-28T10:00:00Z", "m-1", model="opus"),
            used(300, 3, "2026-03-01T00:00:00Z", "m-2"),
            used(70, 1, "2026-01-15T00:00:00Z", "m-3"),
            used(40, 1, "2026-03-02T11:00:00Z", "m-4"),
            {"type": "Reserve", "id": "h", "agent": "ann", "estimate": {"tokens": 600}},
            {"type": "Settle", "hold": "h", "usage": {"tokens": 500}, "occurred_at": "2026-03-01T23:59:59Z"},
        ):
            assert "ok" in fleet.ask(message), message
    return url


def shown(*arguments: str) -> Any:
    found = CliRunner().invoke(main, [*arguments, "--json"])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_the_day_and_the_month_are_billed_for_what_was_used_in_them(url: str) -> None:
    day = shown("cost", "--store", url)
    assert (day["date"], day["tokens_used"], day["cost_usd"]) == ("2026-03-02", 40, 1)
    month = shown("cost", "--month", "--store", url)
    assert (month["month"], month["tokens_used"], month["actual_usd"]) == ("2026-03", 840, "4.00")
    assert {one["date"]: one["tokens_used"] for one in month["days"]} == {"2026-03-01": 800, "2026-03-02": 40}


def test_the_month_at_hand_and_the_day_count_for_limits_only_what_was_used_in_them(url: str) -> None:
    counted = {
        one["limit"]: one["used"] for one in shown("limits", "--store", url, "--at", "2026-03-02T12:00:01Z")["limits"]
    }
    assert (counted["plan"]["tokens"], counted["daily"]["tokens"]) == (840, 40)
    assert shown("status", "--store", url)["total_consumed"]["tokens"] == 1_200 + 300 + 40 + 500


def test_the_whole_log_with_its_views_is_proved_and_every_record_says_when_it_was_used(url: str) -> None:
    CliRunner().invoke(main, ["cost", "--store", url])
    proof = CliRunner().invoke(main, ["audit", "verify", "--store", url])
    assert proof.exit_code == 0, proof.output
    assert "decided again" in proof.output
    lines = CliRunner().invoke(main, ["events", "--store", url]).stdout
    assert "2026-01-15 00:00:00Z" in lines
    assert "2026-02-28 10:00:00Z" in lines
