"""A running fleet follows its configuration file: one event with what differs, or the old one and an error."""

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tallystick import Fleet
from tallystick.actors.runtime.pending import Unanswered
from tallystick.config.errors import ConfigError
from tallystick.config.loader import from_mapping, load
from tallystick.config.overlay import overlaid
from tallystick.events import catalog as e
from tests.support.stores import SECONDS

QUIET = "reallocation: {enabled: false}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "resource-limits.yml"
    path.write_text(QUIET + "daily_limits: {max_cost_usd: 100}\n")
    return path


@pytest.fixture
def told() -> "queue.Queue[e.ConfigLoaded]":
    return queue.Queue()


@pytest.fixture
def fleet(told: "queue.Queue[e.ConfigLoaded]") -> Iterator[Fleet]:
    def tell(events: Any) -> None:
        for event in events:
            if isinstance(event, e.ConfigLoaded):
                told.put(event)

    with Fleet.open("memory:", from_mapping({}), followers=[tell], notify=False) as fleet:
        told.get(timeout=SECONDS)
        yield fleet


def ok(reply: Any) -> Any:
    assert "ok" in reply, reply
    return reply["ok"]


def test_the_file_is_in_force_when_it_is_followed_and_whatever_it_says_later(
    fleet: Fleet, file: Path, told: Any
) -> None:
    fleet.follow(file)
    assert told.get(timeout=SECONDS).config["daily_limits"]["max_cost_usd"] == "100"
    file.write_text(QUIET + "daily_limits: {max_cost_usd: 200}\n")
    assert told.get(timeout=SECONDS).config["daily_limits"]["max_cost_usd"] == "200"
    assert fleet.config == load(file)


def test_a_file_that_is_in_force_already_is_no_event(file: Path, told: Any) -> None:
    with Fleet.open("memory:", load(file), notify=False) as fleet:
        position = fleet.position
        fleet.follow(file).look()
        assert fleet.position == position


def test_only_the_keys_that_the_file_has_changed_are_changed(fleet: Fleet, file: Path, told: Any) -> None:
    following = fleet.follow(file)
    ok(
        fleet.ask(
            {"type": "LoadConfig", "config": {"reallocation": {"enabled": False}, "max_concurrent": {"total": 9}}}
        )
    )
    file.write_text(QUIET + "daily_limits: {max_cost_usd: 100}\nleases: {seconds: 60}\n")
    following.look()
    assert fleet.config.leases.seconds == 60
    assert fleet.config.max_concurrent.total == 9, "an operator's change stays"


def test_a_file_that_is_not_valid_changes_nothing_until_it_is_mended(fleet: Fleet, file: Path) -> None:
    following = fleet.follow(file)
    before, position = fleet.config, fleet.position
    file.write_text(QUIET + "daily_limits: {max_cost_usd: a lot}\n")
    following.look()
    assert (fleet.config, fleet.position) == (before, position)
    assert following.error is not None
    assert f"{file}:2:30: daily_limits.max_cost_usd" in following.error
    file.write_text(QUIET + "daily_limits: {max_cost_usd: 300}\n")
    following.look()
    assert following.error is None
    assert fleet.config.daily_limits.max_cost_usd == 300


def test_a_file_that_the_fleet_refuses_changes_nothing_and_is_told(fleet: Fleet, file: Path) -> None:
    following = fleet.follow(file)
    ok(fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000_000}}))
    before = fleet.config
    file.write_text(QUIET + "total_budget: {tokens: 10}\n")
    following.look()
    assert fleet.config == before
    assert following.error is not None
    assert "found 10, but 1000000 is granted" in following.error


def test_a_file_that_is_gone_for_a_moment_is_an_error_and_the_next_one_is_taken(fleet: Fleet, file: Path) -> None:
    following = fleet.follow(file)
    file.unlink()
    following.look()
    assert following.error is not None
    assert "cannot be read" in following.error
    file.write_text(QUIET + "timezone: Europe/Zurich\n")
    following.look()
    assert following.error is None
    assert fleet.config.timezone == "Europe/Zurich"


def test_a_house_that_is_too_busy_to_answer_is_asked_again(
    fleet: Fleet, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    following = fleet.follow(file)
    ask = fleet.ask

    def busy(*_: Any, **__: Any) -> Any:
        monkeypatch.setattr(fleet, "ask", ask)
        raise Unanswered("no answer within 30 s")

    with following._looking:
        monkeypatch.setattr(fleet, "ask", busy)
        file.write_text(QUIET + "timezone: Europe/Zurich\n")
        following._take()
        assert following.error == "no answer within 30 s"
    following.look()
    assert following.error is None
    assert fleet.config.timezone == "Europe/Zurich"


def test_a_file_that_is_not_valid_at_the_start_is_refused(fleet: Fleet, file: Path) -> None:
    file.write_text("nonsense: 1\n")
    with pytest.raises(ConfigError, match="nonsense"):
        fleet.follow(file)


def test_entries_that_the_file_drops_are_gone_and_those_of_others_stay() -> None:
    before = from_mapping({"products": {"shop": {"weight": 2}, "site": {"weight": 3}}})
    in_force = from_mapping({"products": {"shop": {"weight": 2}, "site": {"weight": 3}, "lab": {"weight": 4}}})
    after = from_mapping({"products": {"shop": {"weight": 5}}})
    products = overlaid(in_force, before, after).products
    assert {name: product.weight for name, product in products.items()} == {"shop": 5, "lab": 4}


def test_a_limit_that_the_file_removes_is_removed() -> None:
    before, after = from_mapping({}), from_mapping({"daily_limits": {"max_cost_usd": None}})
    assert overlaid(before, before, after).daily_limits.max_cost_usd is None
    assert overlaid(before, before, after).daily_limits.max_tokens_total == 2_000_000
