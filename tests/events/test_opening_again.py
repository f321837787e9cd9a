"""A fleet that is opened again: what nobody was there to hear does not count."""

import datetime as dt
from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.evolve import evolve
from tallystick.events.log import snapshot
from tallystick.events.messages import proposals as p
from tallystick.events.state.calendar import later
from tests.support.core import START, Core, allocate, budget, dump, fleet, hold, submit, use

QUIET = {"minimum_share_percent": 0, "max_pool_share_percent": 100}


def configured(**config: Any) -> Core:
    return Core(fleet(10_000_000, **QUIET, **config))


def lease(core: Core, task: str) -> str:
    return str(core.when(p.TellTask(task=task)).lease_expires_at)


def test_each_lease_gets_its_whole_time_anew_by_one_event_before_anything_falls_due() -> None:
    core = configured()
    core.given(submit("a"), submit("b"), hold("a", "h", 5, ttl_seconds=60))
    core.wait(86_400).given(p.OpenFleet())
    assert [type(event) for event in core.decided.events] == [e.FleetOpened]
    opened = core.only(e.FleetOpened)
    assert (opened.down_since, opened.at) == (START, START + dt.timedelta(days=1))
    assert opened.leases_until == opened.at + dt.timedelta(seconds=120)
    assert lease(core, "a") == lease(core, "b") == "2026-03-05T12:02:00Z"
    core.wait(119).pass_time()
    assert set(core.ledger.tasks.running) == {"a", "b"}
    assert core.ledger.holds == {}, "a hold is money that was set aside: it expires when it says"
    core.wait(1).pass_time()
    assert not core.ledger.tasks.running, "once"


def test_an_opening_where_nothing_runs_touches_no_lease() -> None:
    core = configured()
    core.given(allocate("ann", 10))
    core.wait(86_400).given(p.OpenFleet())
    assert core.only(e.FleetOpened).leases_until is None


def test_a_pause_keeps_leases_over_an_opening_too() -> None:
    core = configured()
    core.given(submit("a"), c.PauseAll(reason="lunch"))
    core.wait(86_400).given(p.OpenFleet())
    core.wait(86_400).given(c.ResumeAll())
    assert lease(core, "a") == "2026-03-06T12:02:00Z"


def throttled(core: Core) -> Any:
    return core.when(c.CheckEnforcement(agent="ann")).wait_seconds


def test_an_outage_is_no_operation_so_nobody_waits_for_it() -> None:
    core = configured()
    core.given(allocate("ann", 1000), use("ann", 100))
    core.wait(2).given(use("ann", 650))
    assert throttled(core) == 2, "as long as the operation took"
    core.wait(3_600).given(p.OpenFleet())
    core.wait(1).given(use("ann", 10))
    assert core.only(e.UsageReported).after_outage
    assert throttled(core) == 2, "the pace from before the outage"
    core.wait(5).given(use("ann", 10))
    assert not core.only(e.UsageReported).after_outage
    assert throttled(core) == 5


def test_a_settlement_after_an_outage_keeps_the_pace_too() -> None:
    core = configured()
    core.given(allocate("ann", 1000), use("ann", 750), hold("ann", "h", 10, ttl_seconds=86_400))
    core.wait(3_600).given(p.OpenFleet())
    core.when(c.Settle(hold="h", usage=budget(10)))
    assert core.only(e.HoldSettled).after_outage
    assert throttled(core) == 0, "there was no operation to take a pace from"


@pytest.mark.parametrize("usage", [budget(10, 7)])
def test_a_time_that_is_reported_is_the_pace_whatever_was_down(usage: Any) -> None:
    core = configured()
    core.given(allocate("ann", 1000), use("ann", 750))
    core.wait(3_600).given(p.OpenFleet(), c.ReportUsage(agent="ann", usage=usage))
    assert throttled(core) == 7


def test_a_snapshot_keeps_when_the_fleet_was_opened_and_how_its_clock_stands() -> None:
    core = configured()
    core.given(submit("a"))
    core.wait(3_600).given(p.OpenFleet(), p.NoteClock(apart_ms=-90_000))
    again = snapshot.load(snapshot.dump(core.ledger))
    assert again is not None
    assert dump(again) == dump(core.ledger)
    assert (again.opened_at, again.clock_apart_ms) == (core.now, -90_000)


# --- the clock -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("apart_ms", "code", "words"),
    [
        (7_200_000, "clock_ahead", "120 min ahead; time goes on without it until AcceptClock confirms it"),
        (-61_000, "clock_behind", "1 min behind the fleet's log; time goes on from the log"),
    ],
)
def test_clocks_that_are_apart_are_an_event_an_alert_and_in_the_status(apart_ms: int, code: str, words: str) -> None:
    core = configured()
    core.given(p.NoteClock(apart_ms=apart_ms))
    core.then_events(e.ClockApart, e.AlertRaised)
    alert = core.only(e.AlertRaised)
    assert alert.code == code
    assert words in alert.message
    assert core.when(c.GetGlobalStatus()).clock_apart_seconds == apart_ms // 1000
    core.given(p.NoteClock(apart_ms=0))
    core.then_events(e.ClockTogether)
    assert core.when(c.GetGlobalStatus()).clock_apart_seconds == 0
    core.when(p.NoteClock(apart_ms=0))
    core.then_events()


def test_only_a_clock_that_is_ahead_can_be_accepted() -> None:
    core = configured()
    core.when(c.AcceptClock())
    core.then_refused("clock_not_ahead")
    core.given(p.NoteClock(apart_ms=-90_000))
    core.when(c.AcceptClock())
    core.then_refused("clock_not_ahead")
    core.given(p.NoteClock(apart_ms=90_000))
    core.given(c.AcceptClock(reason="the battery was changed"))
    accepted = core.only(e.ClockAccepted)
    assert (accepted.ahead_ms, accepted.reason) == (90_000, "the battery was changed")
    assert core.ledger.clock_apart_ms == 0


@pytest.mark.parametrize("years", [1, 9_000])
def test_after_an_accepted_step_each_hold_and_lease_keeps_the_time_that_it_had_left(years: int) -> None:
    core = configured()
    core.given(allocate("ann", 1000), submit("a"), hold("ann", "h", 5, ttl_seconds=90))
    core.wait(30).given(submit("b"), hold("ann", "late", 5, ttl_seconds=600))
    step = dt.timedelta(days=365 * years)
    core.given(p.NoteClock(apart_ms=step // dt.timedelta(milliseconds=1)), c.AcceptClock())
    assert core.only(e.ClockAccepted).keeps_time_left
    core.now = later(core.now, step)
    core.wait(59 if years == 1 else 0).pass_time()
    assert set(core.ledger.holds) == {"h", "late"}
    assert set(core.ledger.tasks.running) == {"a", "b"}
    if years == 1:
        core.wait(1).pass_time()
        assert set(core.ledger.holds) == {"late"}
        core.wait(30).pass_time()
        assert set(core.ledger.tasks.running) == {"b"}, "the lease of a had 90 seconds left"
        core.wait(30).pass_time()
        assert not core.ledger.tasks.running
        assert set(core.ledger.holds) == {"late"}


def test_an_accepted_step_is_no_operation_so_no_agent_waits_for_it() -> None:
    core = configured()
    core.given(allocate("ann", 1000), use("ann", 100))
    core.wait(2).given(use("ann", 650))
    core.wait(1).given(p.NoteClock(apart_ms=7_200_000), c.AcceptClock())
    core.wait(7_201).given(use("ann", 10))
    assert throttled(core) == 2, "the pace from before the step"


def test_a_step_that_an_earlier_version_accepted_left_the_ends_where_they_were() -> None:
    core = configured()
    core.given(allocate("ann", 1000), hold("ann", "h", 5, ttl_seconds=60), p.NoteClock(apart_ms=7_200_000))
    evolve(core.ledger, e.ClockAccepted(ahead_ms=7_200_000, position=core.ledger.position + 1, at=core.now))
    assert core.ledger.holds["h"].expires_at == core.now + dt.timedelta(seconds=60)


def test_a_clock_that_steps_again_while_it_is_ahead_is_noted_and_not_alerted_again() -> None:
    core = configured()
    core.given(p.NoteClock(apart_ms=90_000), p.NoteClock(apart_ms=900_000))
    core.then_events(e.ClockApart)
    assert core.ledger.clock_apart_ms == 900_000
    core.given(p.NoteClock(apart_ms=-90_000))
    core.then_events(e.ClockApart, e.AlertRaised)
