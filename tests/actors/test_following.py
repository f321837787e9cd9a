"""A running fleet follows its configuration file: one event with what differs, or the old one and an error."""

import os
import queue
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tallystick import Fleet
from tallystick.actors.errors import RefusedConfig, Unanswered
from tallystick.actors.runtime.following import STABLE_SECONDS, Following
from tallystick.config.errors import ConfigError
from tallystick.config.loader import from_mapping, load
from tallystick.config.overlay import changes, dropped
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tests.support.stores import SECONDS

QUIET = "reallocation: {enabled: false}\n"
Look = Callable[[], None]
Follow = Callable[[], "tuple[Following, Look]"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "resource-limits.yml"
    path.write_text(QUIET + "daily_limits: {max_cost_usd: 100}\n")
    return path


@pytest.fixture
def loaded() -> "queue.Queue[e.ConfigLoaded]":
    return queue.Queue()


@pytest.fixture
def fleet(loaded: "queue.Queue[e.ConfigLoaded]") -> Iterator[Fleet]:
    def tell(events: Any) -> None:
        for event in events:
            if isinstance(event, e.ConfigLoaded):
                loaded.put(event)

    with Fleet.open("memory:", from_mapping({}), followers=[tell], notify=False) as fleet:
        loaded.get(timeout=SECONDS)
        yield fleet


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def follow(fleet: Fleet, file: Path, clock: Clock) -> Follow:
    """Follow the file by hand: what follows it, and a look at it after it has been stable for long enough."""

    def begin() -> "tuple[Following, Look]":
        following = Following(fleet, file, "operator", clock)
        following.begin()

        def look() -> None:
            following.look()
            clock.now += STABLE_SECONDS
            assert not following.look()

        return following, look

    return begin


def ok(reply: Any) -> Any:
    assert "ok" in reply, reply
    return reply["ok"]


def test_the_file_is_in_force_when_it_is_followed_and_whatever_it_says_later(
    fleet: Fleet, file: Path, loaded: Any
) -> None:
    fleet.follow(file)
    assert loaded.get(timeout=SECONDS).config["daily_limits"]["max_cost_usd"] == "100"
    file.write_text(QUIET + "daily_limits: {max_cost_usd: 200}\n")
    assert loaded.get(timeout=SECONDS).config["daily_limits"]["max_cost_usd"] == "200"
    assert fleet.config == load(file)


def test_a_file_that_is_in_force_already_is_no_event(file: Path) -> None:
    with Fleet.open("memory:", load(file), notify=False) as fleet:
        position = fleet.position
        fleet.follow(file).look()
        assert fleet.position == position


def test_only_the_keys_that_the_file_has_changed_are_changed(fleet: Fleet, file: Path, follow: Follow) -> None:
    _, look = follow()
    ok(fleet.ask({"type": "LoadConfig", "config": {"max_concurrent": {"total": 9}, "holds": {"ttl_seconds": 7}}}))
    file.write_text(QUIET + "daily_limits: {max_cost_usd: 100}\nleases: {seconds: 60}\n")
    look()
    assert fleet.config.leases.seconds == 60
    assert fleet.config.max_concurrent.total == 9, "an operator's change stays"
    assert fleet.config.holds.ttl_seconds == 7
    assert fleet.config.daily_limits.max_cost_usd == 100


def test_a_file_that_is_not_valid_changes_nothing_until_it_is_mended(fleet: Fleet, file: Path, follow: Follow) -> None:
    following, look = follow()
    before, position = fleet.config, fleet.position
    file.write_text(QUIET + "daily_limits: {max_cost_usd: a lot}\n")
    look()
    assert (fleet.config, fleet.position) == (before, position)
    assert following.error is not None
    assert f"{file}:2:30: daily_limits.max_cost_usd" in following.error
    file.write_text(QUIET + "daily_limits: {max_cost_usd: 300}\n")
    look()
    assert following.error is None
    assert fleet.config.daily_limits.max_cost_usd == 300


def test_a_file_that_the_fleet_refuses_changes_nothing_and_is_reported(
    fleet: Fleet, file: Path, follow: Follow
) -> None:
    following, look = follow()
    ok(fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000_000}}))
    before = fleet.config
    file.write_text(QUIET + "total_budget: {tokens: 10}\n")
    look()
    assert fleet.config == before
    assert following.error is not None
    assert "found 10, but 1000000 is granted" in following.error


def test_a_file_that_is_gone_for_a_moment_is_an_error_and_the_next_one_is_taken(
    fleet: Fleet, file: Path, follow: Follow
) -> None:
    following, look = follow()
    file.unlink()
    look()
    assert following.error is not None
    assert "cannot be read" in following.error
    file.write_text(QUIET + "timezone: Europe/Zurich\n")
    look()
    assert following.error is None
    assert fleet.config.timezone == "Europe/Zurich"


def test_a_fleet_that_is_too_busy_to_answer_is_asked_again(
    fleet: Fleet, file: Path, follow: Follow, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    following, look = follow()
    put_in_force = fleet.put_in_force

    def busy(*_: Any, **__: Any) -> Any:
        monkeypatch.setattr(fleet, "put_in_force", put_in_force)
        raise Unanswered("no answer within 30 s")

    monkeypatch.setattr(fleet, "put_in_force", busy)
    file.write_text(QUIET + "timezone: Europe/Zurich\n")
    following.look()
    clock.now += STABLE_SECONDS
    assert following.look(), "it is looked at again"
    assert following.error == "no answer within 30 s"
    look()
    assert following.error is None
    assert fleet.config.timezone == "Europe/Zurich"


def test_a_file_that_is_not_valid_at_the_start_is_refused(fleet: Fleet, file: Path) -> None:
    file.write_text("nonsense: 1\n")
    with pytest.raises(ConfigError, match="nonsense"):
        fleet.follow(file)


def test_a_file_that_the_fleet_refuses_at_the_start_is_not_followed(fleet: Fleet, file: Path) -> None:
    ok(fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000_000}}))
    file.write_text("total_budget: {tokens: 10}\n")
    with pytest.raises(RefusedConfig, match="1000000 is granted"):
        fleet.follow(file)


# --- a file that is not whole ----------------------------------------------------------------------------------------

LIMITS = (
    "total_budget: {tokens: 1000, period: day}\n"
    "daily_limits:\n"
    "  max_cost_usd: 55\n"
    "manual_override: {pause_all_agents: true}\n"
    "products:\n"
    "  shop: {token_budget_daily: 10, paused: true}\n"
    "circuit_breaker:\n"
    "  trip_conditions:\n"
    "    - tokens_daily > 500\n"
    "    - cost_daily_usd > 5\n"
    "enforcement: {warn_at: 0.25, stop_at: 0.9}\n"
    "timezone: Europe/Zurich\n"
)


def test_a_file_is_read_when_it_has_been_stable_for_half_a_second(
    fleet: Fleet, file: Path, follow: Follow, clock: Clock
) -> None:
    following, _ = follow()
    before = fleet.config
    for tokens in (1, 2, 3):
        file.write_text(QUIET + f"daily_limits: {{max_cost_usd: 100, max_tokens_total: {tokens}}}\n")
        os.utime(file, ns=(tokens, tokens))
        assert following.look(), "it is looked at again"
        clock.now += STABLE_SECONDS - 0.01
        assert following.look()
        assert fleet.config == before
    clock.now += 0.02
    assert not following.look()
    assert fleet.config.daily_limits.max_tokens_total == 3


@pytest.mark.parametrize("text", ["", "\n\n", "   ", "# nothing here\n", "---\n", "{}\n", "null\n", "\ufeff"])
def test_an_empty_file_changes_nothing_and_is_reported(
    fleet: Fleet, file: Path, follow: Follow, loaded: Any, text: str
) -> None:
    file.write_text(LIMITS)
    following, look = follow()
    before, position = fleet.config, fleet.position
    file.write_text(text)
    look()
    assert (fleet.config, fleet.position) == (before, position)
    assert following.error is not None
    file.write_text(LIMITS + "holds: {ttl_seconds: 9}\n")
    look()
    assert following.error is None
    assert fleet.config.holds.ttl_seconds == 9


def test_a_file_that_is_cut_off_anywhere_changes_nothing_and_is_reported(
    fleet: Fleet, file: Path, follow: Follow
) -> None:
    file.write_text(LIMITS)
    following, look = follow()
    before, position = fleet.config, fleet.position
    for length in range(len(LIMITS) - 1):
        file.write_text(LIMITS[:length])
        os.utime(file, ns=(length, length))
        look()
        assert (fleet.config, fleet.position) == (before, position), LIMITS[:length]
        assert following.error is not None, LIMITS[:length]
    file.write_text(LIMITS[: LIMITS.index("enforcement")] + "# the rest was deleted\n")
    look()
    assert following.error is None
    assert following.omitted == ["enforcement", "timezone"]
    assert (fleet.config, fleet.position) == (before, position)


def test_whatever_is_left_out_of_a_file_loosens_nothing(fleet: Fleet, file: Path, follow: Follow) -> None:
    file.write_text(LIMITS)
    _, look = follow()
    before = fleet.config
    lines = LIMITS.splitlines(keepends=True)
    chance = random.Random(1)
    taken = 0
    for number in range(60):
        kept = [line for line in lines if chance.random() < 0.7]
        file.write_text("".join(kept) + f"# {number}\n")
        look()
        taken += fleet.config == before
        assert fleet.config.total_budget == before.total_budget
        assert fleet.config.daily_limits == before.daily_limits
        assert fleet.config.products == before.products
        assert fleet.config.manual_override.pause_all_agents
        assert fleet.config.enforcement == before.enforcement
    assert taken


def test_what_a_file_no_longer_says_stays_in_force_until_it_says_null(fleet: Fleet, file: Path, follow: Follow) -> None:
    file.write_text(LIMITS)
    following, look = follow()
    file.write_text("# no more\ntimezone: Europe/Zurich\n")
    look()
    assert following.omitted == [
        "total_budget",
        "daily_limits",
        "manual_override",
        "products",
        "circuit_breaker",
        "enforcement",
    ]
    assert fleet.config.daily_limits.max_cost_usd == 55
    file.write_text("timezone: UTC\ndaily_limits: {max_cost_usd: null}\nproducts: {shop: null}\n")
    look()
    assert fleet.config.daily_limits.max_cost_usd is None
    assert fleet.config.products == {}
    assert "daily_limits" not in following.omitted
    assert "products" not in following.omitted
    assert fleet.config.total_budget.tokens == 1000


def test_the_files_limits_come_over_those_that_the_fleet_has_already(file: Path) -> None:
    file.write_text("total_budget: {tokens: 1000}\n")
    with Fleet.open("memory:", Config(), notify=False) as fleet:
        fleet.follow(file)
        assert fleet.config.total_budget.tokens == 1000
        assert fleet.config.total_budget.cost_usd == 3000, "an omission lifts nothing"
        assert fleet.config.daily_limits == Config().daily_limits


def test_a_file_saved_in_place_lifts_nothing_while_it_is_empty(fleet: Fleet, file: Path, loaded: Any) -> None:
    """The case as it was found: the writer truncates the file, and goes on some time later."""
    text = "total_budget: {tokens: 1000, period: day}\nmanual_override: {pause_all_agents: true}\n"
    file.write_text(text)
    following = fleet.follow(file)
    position = fleet.position
    with file.open("w") as saved:
        while following.error is None:
            following.look()
        refused = fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 5_000_000}})
        assert refused["error"]["code"] == "paused"
        saved.write(text + "leases: {seconds: 60}\n")
    loaded.get(timeout=SECONDS)
    assert loaded.get(timeout=SECONDS).config["leases"]["seconds"] == "60"
    assert ok(fleet.ask({"type": "GetGlobalStatus"}))["total"] == {"tokens": 1000}
    assert fleet.position >= position


# --- what differs ----------------------------------------------------------------------------------------------------


def test_an_entry_that_the_file_changes_is_changed_and_no_other() -> None:
    before = {"products": {"shop": {"weight": "2"}, "site": {"weight": "3"}}, "timezone": "UTC"}
    after = {"products": {"shop": {"weight": "5", "paused": True}}}
    assert changes(before, after) == {"products": {"shop": {"weight": "5", "paused": True}}}
    assert list(dropped(before, after)) == [("products", "site"), ("timezone",)]


def test_a_null_is_a_change_once_and_is_never_missed_later() -> None:
    assert changes({}, {"daily_limits": {"max_cost_usd": None}}) == {"daily_limits": {"max_cost_usd": None}}
    assert changes({"a": None}, {"a": None}) == {}
    assert list(dropped({"a": None}, {})) == []
