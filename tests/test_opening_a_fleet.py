"""How a program opens a fleet: with a configuration in any form, or with what is found; and again, and again."""

import json
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog

from tallystick import Fleet
from tallystick.config.errors import ConfigError
from tallystick.config.loader import from_mapping, load
from tallystick.config.settings import Config
from tests.support.programs import SECONDS

LIMITS = {"total_budget": {"tokens": 1000}, "timezone": "Europe/Zurich"}
PROJECT = Path(".claude/resource-management/resource-limits.yml")


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TALLYSTICK_STORE", "TALLYSTICK_CONFIG", "TALLYSTICK_PRICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "limits.yml"
    path.write_text(json.dumps(LIMITS))
    return path


def in_force(*settings: Any, store: str = "memory:") -> Config:
    with Fleet.open(store, *settings, notify=False) as fleet:
        return fleet.config


FORMS: dict[str, Callable[[Path], Any]] = {
    "a mapping": lambda file: LIMITS,
    "a path": lambda file: file,
    "a path as text": str,
    "a configuration": load,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_configuration_may_be_a_mapping_a_path_or_a_whole_one(file: Path, form: Callable[[Path], Any]) -> None:
    assert in_force(form(file)) == from_mapping(LIMITS)


def test_prices_may_be_a_mapping_or_a_path_too(tmp_path: Path) -> None:
    (tmp_path / "prices.yml").write_text("prices: {my-model: {input: 7, output: 8}}")
    report = {"type": "ReportUsage", "agent": "a", "model": "my-model", "input_tokens": 1_000_000, "output_tokens": 0}
    models = {"my-model": {"input": 7, "output": 8}}
    for prices in (tmp_path / "prices.yml", "prices.yml", models, {"prices": models}):
        with Fleet.open("memory:", LIMITS, prices, notify=False) as fleet:
            assert "ok" in fleet.ask(report)
            assert fleet.ask({"type": "GetGlobalStatus"})["ok"]["total_consumed"]["cost_usd"] == "7.00"


def test_without_one_a_new_fleet_begins_with_the_file_that_the_command_line_would_find(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert in_force() == Config()
    PROJECT.parent.mkdir(parents=True)
    PROJECT.write_text("total_budget: {tokens: 7}")
    assert in_force().total_budget.tokens == 7
    monkeypatch.setenv("TALLYSTICK_CONFIG", str(file))
    assert in_force() == from_mapping(LIMITS)


def test_one_that_has_begun_keeps_what_is_in_force_wherever_it_is_opened(file: Path) -> None:
    assert in_force(LIMITS, store="sqlite:///fleet.db") == from_mapping(LIMITS)
    PROJECT.parent.mkdir(parents=True)
    PROJECT.write_text("total_budget: {tokens: 7}")
    assert in_force(store="sqlite:///fleet.db") == from_mapping(LIMITS)


def test_what_a_later_configuration_does_not_name_stays_in_force_and_null_lifts_it(tmp_path: Path) -> None:
    store = "sqlite:///fleet.db"
    in_force({**LIMITS, "daily_limits": {"max_cost_usd": 5}}, store=store)
    (tmp_path / "later.yml").write_text("total_budget: {tokens: 2000}")
    later = in_force("later.yml", store=store)
    assert later.total_budget.tokens == 2000
    assert later.daily_limits.max_cost_usd == 5
    assert later.timezone == "Europe/Zurich"
    assert in_force({"daily_limits": {"max_cost_usd": None}}, store=store).daily_limits.max_cost_usd is None
    assert in_force(Config(), store=store) == Config()


def test_the_packaged_limits_are_in_force_only_where_there_is_no_configuration_at_all() -> None:
    assert in_force().daily_limits.max_cost_usd == Decimal(100)
    assert in_force({}).daily_limits.max_cost_usd is None
    assert in_force({}).max_concurrent.total is None


def test_a_trip_condition_that_can_never_be_true_is_reported_when_it_comes_into_force_and_not_again() -> None:
    for config, warned in ((LIMITS, 1), (LIMITS, 0), ({"daily_limits": {"max_cost_usd": 5}}, 0)):
        with structlog.testing.capture_logs() as logged:
            in_force(config, store="sqlite:///fleet.db")
        found = [line for line in logged if line["event"] == "config_warning" and line["code"] == "can_never_trip"]
        assert [line["key"] for line in found] == ["circuit_breaker.trip_conditions[0]"] * warned


@pytest.mark.parametrize("given", ["missing.yml", Path("missing.yml"), {"total_budgt": {}}])
def test_a_configuration_that_cannot_be_used_leaves_the_store_free(given: Any) -> None:
    with pytest.raises(ConfigError):
        in_force(given, store="sqlite:///fleet.db")
    in_force(LIMITS, store="sqlite:///fleet.db")


def test_a_program_that_opens_a_fleet_a_second_time_changes_nothing_by_that(file: Path) -> None:
    positions = []
    for _ in range(3):
        with Fleet.open("sqlite:///fleet.db", file, notify=False) as fleet:
            positions.append(fleet.position)
    assert len(set(positions)) == 1


def test_a_hold_beside_a_large_total_is_not_refused_for_a_daily_limit_that_was_never_named() -> None:
    with Fleet.open("memory:", {"total_budget": {"tokens": 200_000_000, "cost_usd": 500}}, notify=False) as fleet:
        wanted = {"type": "AllocateEqual", "agents": ["a0", "a1", "a2"], "total": {"tokens": 150_000_000}}
        assert "ok" in fleet.ask(wanted)
        assert "ok" in fleet.ask({"type": "Reserve", "agent": "a1", "estimate": {"tokens": 3_000_000}})


def test_a_fleet_that_two_threads_close_is_closed_once_and_when_each_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet.open(f"sqlite:///{tmp_path}/fleet.db", LIMITS, notify=False)
    begun, goes_on, closed = threading.Event(), threading.Event(), list[str]()
    stop, close = fleet._watch.stop, fleet._store.close

    def slowly() -> None:
        begun.set()
        assert goes_on.wait(SECONDS)
        stop()

    def noted() -> None:
        close()
        closed.append("the store")

    monkeypatch.setattr(fleet._watch, "stop", slowly)
    monkeypatch.setattr(fleet._store, "close", noted)
    both = [threading.Thread(target=lambda: (fleet.close(), closed.append("a thread"))) for _ in range(2)]
    both[0].start()
    assert begun.wait(SECONDS)
    both[1].start()
    both[1].join(0.2)
    goes_on.set()
    for one in both:
        one.join(SECONDS)
    assert closed == ["the store", "a thread", "a thread"]
