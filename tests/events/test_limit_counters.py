"""Counters of limits: how many there are, which values share one, and what limits say when no wait would bring room."""

from decimal import Decimal
from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages.replies import Refusal
from tests.support.core import Core, allocate, submit, use
from tests.support.limited import ask, limit, limited, report

PER_USER = limit(per="label:user", window="day", max={"tokens": 100})


def by(user: str, tokens: int) -> c.ReportUsage:
    return report("ann", tokens, labels={"user": user})


def counted(core: Core, name: str = "cap") -> dict[str | None, Any]:
    return {one.value: one.used["tokens"] for one in core.when(c.GetLimits(limit=name)).limits}


# --- too many ---------------------------------------------------------------------------------------------------------


def test_who_shares_a_counter_goes_on_sharing_it_until_the_window_ends() -> None:
    freed = limit("freed", per="label:job", window={"seconds": 60, "from": "first_use"}, max={"tokens": 1_000})
    core = limited(PER_USER, freed, limits_counters_max=3).given(allocate("ann", 100_000))
    core.given(report("ann", 1, labels={"user": "a", "job": "1"}), by("b", 80))
    core.wait(120).given(report("ann", 1, labels={"user": "a", "job": "2"}))
    core.when(ask("ann", "h", 30, labels={"user": "b"}))
    core.then_refused("limit_reached", value="b", used=80)


def test_room_for_new_counters_gives_who_shared_one_no_second_budget() -> None:
    rolling = limit("freed", per="label:job", window={"seconds": 60}, max={"tokens": 1_000})
    core = limited(PER_USER, rolling, limits_counters_max=2).given(allocate("ann", 100_000))
    core.given(report("ann", 1, labels={"user": "a", "job": "1"}), by("b", 100))
    assert counted(core)["(other)"] == 100
    core.given(c.LoadConfig(config={"limits_counters_max": 50}))
    core.when(ask("ann", "h", 1, labels={"user": "b"}))
    core.then_refused("limit_reached", value="(other)", used=100)
    core.when(ask("ann", "g", 1, labels={"user": "b"}), at=core.now.replace(day=core.now.day + 1))
    assert core.only(e.HoldPlaced)


def test_a_limit_of_the_fleet_has_its_own_counter_however_many_there_are() -> None:
    everyone = limit("everyone", window="day", max={"tokens": 1_000})
    core = limited(PER_USER, everyone, limits_counters_max=1).given(allocate("ann", 100_000))
    core.given(by("a", 10), by("b", 10), use("ann", 10))
    assert counted(core, "everyone") == {"fleet": 30}


def test_operators_hear_in_each_day_once_that_there_are_too_many_counters() -> None:
    core = limited(PER_USER, limits_counters_max=1).given(allocate("ann", 100_000))
    for _ in range(2):
        core.given(by("a", 1), by("b", 1))
        assert [alert.code for alert in core.every(e.AlertRaised)] == ["limit_counters_full"]
        core.given(by("c", 1))
        assert core.every(e.AlertRaised) == []
        core.wait(24 * 3_600)


def test_counters_whose_windows_are_over_make_room_for_new_ones() -> None:
    core = limited({**PER_USER, "window": {"seconds": 60, "from": "first_use"}}, limits_counters_max=2)
    core.given(allocate("ann", 100_000), by("a", 1), by("b", 1)).wait(61).given(by("c", 1))
    assert counted(core)["c"] == 1


def test_of_many_counters_those_nearest_to_exhaustion_are_shown() -> None:
    core = limited(PER_USER).given(allocate("ann", 100_000))
    core.compares = False
    core.given(*(by(f"u{number}", number + 1) for number in range(120)))
    answer = core.when(c.GetLimits(limit="cap", count=3))
    assert [one.value for one in answer.limits] == ["u119", "u118", "u117"]
    assert answer.counters == 120


def test_a_label_named_like_the_number_of_a_scope_is_another_limit() -> None:
    core = limited(limit(match={"account": "x"}, window="total", max={"tokens": 100}))
    core.given(allocate("x", 10_000), use("x", 90))
    core.given(c.LoadConfig(config={"limits": [limit(match={"label:1": "x"}, window="total", max={"tokens": 100})]}))
    assert counted(core) == {None: 0}


# --- raised -----------------------------------------------------------------------------------------------------------


def test_a_limit_of_the_fleet_is_raised_for_no_single_value() -> None:
    core = limited(limit(window="day", max={"tokens": 100})).given(allocate("ann", 10_000))
    core.when(c.ApproveLimit(limit="cap", value="ann", max=c.MaxChange(tokens=200)))
    refusal = core.then_refused("invalid_message", value="ann")
    assert "has one counter, that of the fleet" in refusal.detail
    core.given(c.ApproveLimit(limit="cap", value="fleet", max=c.MaxChange(tokens=200)), use("ann", 150))
    core.given(c.ApproveLimit(limit="cap", max=c.MaxChange()))
    core.when(ask("ann", "h", 1))
    core.then_refused("limit_reached", max=100)


def test_a_raise_of_a_window_that_is_open_ends_with_it() -> None:
    core = limited(limit(window={"hours": 5, "from": "first_use"}, max={"tokens": 100}))
    core.given(allocate("ann", 10_000), use("ann", 1)).wait(3_600)
    core.given(c.ApproveLimit(limit="cap", max=c.MaxChange(tokens=200)))
    assert core.only(e.LimitRaised).raised_until == core.now + 4 * (core.now - core.now.replace(hour=12))
    core.wait(4 * 3_600).given(use("ann", 1))
    core.when(ask("ann", "h", 100))
    core.then_refused("limit_reached", max=100, used=1)


def test_a_task_that_fits_under_a_raised_limit_is_not_rejected() -> None:
    core = limited(limit(window="day", max={"tokens": 100}), token_budgets={"default": 80})
    core.given(c.ApproveLimit(limit="cap", max=c.MaxChange(tokens=10**6)))
    assert core.when(submit("t", estimated_tokens=500)).state == "running"
    core.given(c.ApproveLimit(limit="cap", max=c.MaxChange()))
    assert core.when(submit("u", estimated_tokens=500)).state == "rejected"


def test_what_is_no_raise_says_what_would_be() -> None:
    core = limited(limit(window="day", max={"tokens": 100}))
    core.when(c.ApproveLimit(limit="cap", max=c.MaxChange(tokens=100)))
    assert "found 100, allowed is more than the configured 100" in core.then_refused("limit_not_raised").detail
    core.when(c.ApproveLimit(limit="cap", max=c.MaxChange(requests=100)))
    assert "does not bound it, but tokens" in core.then_refused("limit_not_raised").detail


# --- waits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "most"), [("total", 10), ({"hours": 1}, 0)])
def test_who_reports_is_stopped_by_a_limit_that_paces_where_no_wait_brings_room(window: Any, most: int) -> None:
    core = limited(limit(window=window, max={"tokens": most}, then="wait")).given(allocate("ann", 10_000))
    answer = core.when(use("ann", 10))
    assert (answer.action, answer.wait_seconds, answer.decided_by) == ("stop", 0, "limit:cap")
    refusal = core.when(ask("ann", "h", 1))
    assert isinstance(refusal, Refusal)
    assert refusal.numbers["retry_after_seconds"] is None


def test_a_limit_that_paces_and_is_held_says_how_long_it_would_take_without_what_is_held() -> None:
    core = limited(limit(window={"seconds": 60}, max={"tokens": 10}, then="wait")).given(allocate("ann", 10_000))
    core.given(ask("ann", "h", 9, ttl_seconds=Decimal(600)))
    answer = core.when(use("ann", 12))
    assert answer.action == "throttle"
    assert 60 <= answer.wait_seconds <= 61


@pytest.mark.parametrize("scope", ["label:user", "product", "account"])
def test_what_calls_itself_other_does_not_bring_others_to_share_its_counter(scope: str) -> None:
    names = ("(other)", "(none)", "ann", "ben")
    core = limited(limit(per=scope, window="day", max={"tokens": 1_000}))
    for name in names:
        core.given(allocate(name, 10_000, product=name, labels={"user": name}), report(name, 400))
    assert counted(core) == {"(none)": 800, "ann": 400, "ben": 400}
    assert not [event for event in core.log if isinstance(event, e.AlertRaised) and event.code == "limit_counters_full"]


@pytest.mark.parametrize("window", ["day", "total", {"seconds": 600}])
def test_operators_are_alerted_once_in_a_window_also_where_all_that_was_used_in_it_comes_back(window: Any) -> None:
    core = limited(limit(window=window, max={"requests": 2})).given(allocate("ann", 100_000))
    alerts = []
    for n in range(3):
        core.given(*(ask("ann", f"{n}-{one}", 5, model="m") for one in ("a", "b")))
        alerts += [line.percent for line in core.every(e.LimitLine)]
        core.given(*(c.CancelHold(hold=f"{n}-{one}") for one in ("a", "b")))
    assert alerts == ["80", "100"]
    core.wait(86_400).given(*(ask("ann", f"then-{one}", 5, model="m") for one in ("a", "b")))
    assert len(core.every(e.LimitLine)) == (0 if window == "total" else 2)
