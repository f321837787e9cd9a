"""``cost --by A,B --per SPAN``, as people and programs call it."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tallystick.actors.runtime.clock import ManualClock
from tallystick.cli.main import main
from tallystick.config.loader import from_mapping
from tallystick.fleet import Fleet
from tests.support.core import START

LONG = "an-agent-with-a-name-" + "x" * 100


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two days with two products, models and a label."""
    url = f"sqlite:///{tmp_path_factory.mktemp('fleet')}/fleet.db"
    clock = ManualClock(START)
    config = from_mapping({"total_budget": {"tokens": 10**8, "period": "none"}, "timezone": "Europe/Zurich"})
    with Fleet.open(url, config, clock=clock) as fleet:
        for agent, product in (("ann", "shop"), ("bob", "lab"), (LONG, "shop")):
            fleet.ask({"type": "AllocateBudget", "agent": agent, "product": product, "budget": {"tokens": 10**6}})
        for hours in (0, 1, 23):
            clock.move_to(START + dt.timedelta(hours=hours))
            for agent, cost in (("ann", "1.5"), ("bob", "0.25"), (LONG, "0.1")):
                usage = {"tokens": 1_000, "cost_usd": cost}
                labels = {"user,x": agent[:3]}
                fleet.ask({"type": "ReportUsage", "agent": agent, "model": "opus", "usage": usage, "labels": labels})
    return url


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["cost", *arguments, "--store", url])


def answered(url: str, *arguments: str) -> Any:
    result = run(url, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_products_and_models_by_the_day_fit_eighty_columns(url: str) -> None:
    result = run(url, "--by", "product,model,agent", "--per", "day")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].strip() == "2026-03, by product, model, agent, per day"
    assert max(map(len, lines)) <= 80
    assert sum("2026-03-04" in line for line in lines) == 1
    assert [line["per"] for line in answered(url, "--per", "day")] == ["2026-03-04", "2026-03-05"]


def test_without_spans_it_is_the_newest_day_that_is_broken_down(url: str) -> None:
    found = answered(url, "--by", "product,agent")
    assert [(*line["by"].values(), line["cost_usd"], line["percent"]) for line in found] == [
        ("shop", "ann", "1.50", 81),
        ("lab", "bob", "0.25", 13),
        ("shop", LONG, "0.10", 5),
    ]
    assert found[0] == {
        "per": None,
        "by": {"product": "shop", "agent": "ann"},
        "tokens_used": 1_000,
        "cost_usd": "1.50",
        "reports": 1,
        "percent": 81,
    }


def test_hours_are_those_of_the_newest_day_unless_days_are_named(url: str) -> None:
    assert [line["per"] for line in answered(url, "--per", "hour")] == ["2026-03-05T12:00+01:00"]
    found = answered(url, "--per", "hour", "--until", "2026-03-04")
    assert [line["per"] for line in found] == ["2026-03-04T13:00+01:00", "2026-03-04T14:00+01:00"]
    assert [line["per"] for line in answered(url, "--per", "week")] == ["2026-W10"]
    assert [line["tokens_used"] for line in answered(url, "--per", "month")] == [9_000]
    assert answered(url, "--per", "hour", "--since", "2026-03-06") == []


def test_as_it_was_then(url: str) -> None:
    assert [line["tokens_used"] for line in answered(url, "--per", "day", "--at", "2026-03-04T12:30")] == [3_000]


def test_a_label_whose_key_holds_a_comma_goes_last(url: str) -> None:
    found = answered(url, "--by", "product,label:user,x")
    assert [tuple(line["by"].values()) for line in found] == [("shop", "ann"), ("lab", "bob"), ("shop", "an-")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--by", "product,colour"), "allowed is one of product, model, type, agent, or label:KEY"),
        (("--by", "product,"), "allowed is one of"),
        (("--by", "model,model"), "model is named twice"),
        (("--per", "year"), "'hour', 'day', 'week', 'month'"),
        (("--since", "yesterday"), "allowed is a day like 2026-03-04"),
        (("--month", "--since", "2026-03-04"), "--month goes with neither --since nor --until"),
        (("--compare", "--per", "day"), "--compare goes with none of"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(url: str, arguments: tuple[str, ...], words: str) -> None:
    result = run(url, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_fleet_without_usage_says_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    Fleet.open(url, from_mapping({})).close()
    assert "Nothing was used on these days" in run(url, "--per", "day").output
    assert answered(url, "--per", "day") == []
