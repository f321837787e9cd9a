"""The time of a fleet goes on as time passes, whatever the machine's clock says; and it says so when they are apart."""

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick import Fleet
from tallystick.actors.runtime.clock import APART, SteadyClock, SystemClock
from tallystick.actors.runtime.watch import Watch
from tallystick.events import catalog as e
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store_memory import MemoryStore
from tests.support.core import START

SECOND = dt.timedelta(seconds=1)
YEARS = dt.timedelta(days=730)


class Machine(SystemClock):
    """A machine whose clocks a test moves: ``step`` moves the one that tells the time, ``go_on`` both."""

    def __init__(self) -> None:
        self.shown, self.since_boot = START, 1_000.0

    def now(self) -> dt.datetime:
        return self.shown

    def passed(self) -> float:
        return self.since_boot

    def go_on(self, seconds: float) -> None:
        self.shown += seconds * SECOND
        self.since_boot += seconds

    def step(self, by: dt.timedelta) -> None:
        self.shown += by


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_time_is_the_machines_where_it_only_goes_on(machine: Machine) -> None:
    clock = SteadyClock(machine, START - YEARS)
    assert clock.now() == START
    machine.go_on(3_600)
    assert clock.now() == START + 3_600 * SECOND
    assert not clock.apart


def test_a_machine_that_slept_is_followed_because_its_other_clock_counts_the_sleep(machine: Machine) -> None:
    clock = SteadyClock(machine, START)
    machine.go_on(86_400 * 30)
    assert clock.now() == machine.shown
    assert not clock.apart


def test_a_fleet_that_was_closed_for_long_follows_the_machine_when_it_is_opened(machine: Machine) -> None:
    assert SteadyClock(machine, START - 5 * YEARS).now() == START


def test_behind_the_log_time_goes_on_from_the_log(machine: Machine) -> None:
    clock = SteadyClock(machine, START + YEARS)
    assert clock.now() == START + YEARS
    machine.go_on(10)
    assert clock.now() == START + YEARS + 10 * SECOND
    assert clock.apart == -YEARS
    machine.step(YEARS)
    assert clock.now() == machine.shown
    assert not clock.apart


@pytest.mark.parametrize("back", [SECOND, 30 * SECOND, YEARS])
def test_a_step_back_never_takes_time_back_and_never_stops_it(machine: Machine, back: dt.timedelta) -> None:
    clock = SteadyClock(machine, START)
    machine.go_on(5)
    before = clock.now()
    machine.step(-back)
    assert clock.now() == before
    machine.go_on(3)
    assert clock.now() == before + 3 * SECOND
    assert clock.apart == -back


@pytest.mark.parametrize("ahead", [SECOND, APART])
def test_a_small_step_ahead_is_followed(machine: Machine, ahead: dt.timedelta) -> None:
    clock = SteadyClock(machine, START)
    machine.step(ahead)
    assert clock.now() == machine.shown
    assert not clock.apart


def test_a_large_step_ahead_is_followed_only_when_it_is_accepted(machine: Machine) -> None:
    clock = SteadyClock(machine, START)
    machine.step(YEARS)
    machine.go_on(7)
    assert clock.now() == START + 7 * SECOND
    assert clock.apart == YEARS
    clock.accept(YEARS)
    assert clock.now() == machine.shown
    machine.step(-YEARS)
    machine.go_on(1)
    assert clock.now() == START + YEARS + 8 * SECOND, "what was accepted is not taken back"
    clock.accept(YEARS)
    assert clock.now() == START + YEARS + 8 * SECOND


@pytest.mark.parametrize(("accepted", "follows"), [(1, 1), (2, 2), (3, 2)])
def test_a_step_is_followed_as_far_as_it_was_accepted_and_never_beyond_the_machine(
    machine: Machine, accepted: int, follows: int
) -> None:
    clock = SteadyClock(machine, START)
    machine.step(2 * YEARS)
    clock.now()
    clock.accept(accepted * YEARS)
    assert clock.now() == START + follows * YEARS
    assert clock.apart == (2 - follows) * YEARS, "the rest is a step that was not accepted"


def test_the_calendar_has_an_end_and_time_stands_there(machine: Machine) -> None:
    clock = SteadyClock(machine, dt.datetime.max.replace(tzinfo=dt.UTC) - SECOND)
    machine.go_on(60)
    assert clock.now() == dt.datetime.max.replace(tzinfo=dt.UTC)
    machine.go_on(60)
    assert clock.now() == dt.datetime.max.replace(tzinfo=dt.UTC)


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(-(10**8), 10**8)), max_size=30))
def test_time_never_goes_back_and_never_runs_ahead_of_both_clocks(moves: list[tuple[float, int]]) -> None:
    machine = Machine()
    clock = SteadyClock(machine, START)
    before = clock.now()
    for seconds, step in moves:
        machine.go_on(seconds)
        machine.step(step * SECOND)
        now = clock.now()
        went = now - before
        assert went >= dt.timedelta(seconds=seconds) - dt.timedelta(microseconds=1)
        assert went <= dt.timedelta(seconds=seconds) + APART
        before = now


def test_the_machines_own_clocks_go_on() -> None:
    clock = SystemClock()
    assert clock.passed() <= clock.passed()
    assert clock.now().tzinfo is dt.UTC


# --- looking ---------------------------------------------------------------------------------------------------------


class Troubled(MemoryStore):
    """A store that says of itself what a test wants."""

    is_lost: str | None = None
    is_away: str | None = None

    def lost(self) -> str | None:
        return self.is_lost

    def away(self) -> str | None:
        return self.is_away


class Looking:
    """A watch that is made to look by hand, and what it said."""

    def __init__(self, machine: Machine, apart_ms: int = 0) -> None:
        self.clock = SteadyClock(machine, START)
        self.noted: list[int] = []
        self.stopped: list[str] = []
        self.jumps = 0
        self.store = Troubled()
        self.turned_away: list[str] = []
        self.watch = Watch(
            self.clock, self.store, self.turned_away.append, self.stopped.append, self.noted.append, self._jump
        )

    def _jump(self) -> None:
        self.jumps += 1


def test_clocks_that_are_apart_are_noted_once_and_so_is_their_agreement(machine: Machine) -> None:
    looking = Looking(machine)
    for step, noted in (
        (0, []),
        (-59, []),
        (-2, [-61_000]),
        (-100, []),
        (120, []),
        (20, [0]),
        (1_000, [979_000]),
        (59, []),
        (2, [1_040_000]),
        (-61, [979_000]),
        (-100, [879_000]),
        (100, [979_000]),
        (-2_100, [-1_121_000]),
    ):
        machine.step(step * SECOND)
        looking.noted.clear()
        for _ in range(3):
            assert looking.watch.look()
        assert looking.noted == noted, step


def test_a_step_that_is_accepted_while_the_clocks_are_compared_is_not_noted_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = Looking(machine)
    machine.step(600 * SECOND)
    looking.watch.look()
    accepting = threading.Thread(target=looking.watch.follow_accepted, args=([e.ClockAccepted(ahead_ms=600_000)],))
    apart = SteadyClock.apart.fget
    assert apart is not None

    def slowly(clock: SteadyClock) -> dt.timedelta:
        found: dt.timedelta = apart(clock)
        accepting.start()
        accepting.join(0.2)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(SteadyClock, "apart", property(slowly))
        looking.watch.look()
    accepting.join()
    looking.watch.look()
    assert looking.noted == [600_000]


def test_time_that_passed_unseen_wakes_the_timers(machine: Machine) -> None:
    looking = Looking(machine)
    looking.watch.look()
    looking.watch.look()
    assert looking.jumps == 0
    machine.go_on(600)
    looking.watch.look()
    assert looking.jumps == 1


def test_a_lost_store_is_said_once_and_nothing_is_looked_at_any_more(machine: Machine) -> None:
    looking = Looking(machine)
    looking.store.is_lost = "the file is gone"
    assert not looking.watch.look()
    assert looking.stopped == ["the file is gone"]


def test_while_the_store_is_away_those_who_wait_are_turned_away_each_time_and_no_clock_is_noted(
    machine: Machine,
) -> None:
    looking = Looking(machine)
    looking.store.is_away = "the database is away"
    machine.shown += YEARS
    for _ in range(2):
        assert looking.watch.look()
    assert looking.turned_away == ["the database is away"] * 2
    assert (looking.noted, looking.stopped) == ([], [])
    looking.store.is_away = None
    looking.watch.look()
    assert looking.noted == [YEARS // dt.timedelta(milliseconds=1)]


# --- a fleet ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def running(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Fleet]]:
    """Fleets whose machine is the test's."""
    monkeypatch.setattr(SystemClock, "now", lambda self: machine.shown)
    monkeypatch.setattr(SystemClock, "passed", lambda self: machine.since_boot)
    opened: list[Fleet] = []

    def open_(store: str = "memory:") -> Fleet:
        opened.append(Fleet.open(store, {"total_budget": {"tokens": 10_000}}, notify=False))
        return opened[-1]

    yield open_
    for fleet in opened:
        fleet.close()


def ok(reply: Any) -> Any:
    assert "ok" in reply, reply
    return reply["ok"]


def look(fleet: Fleet) -> None:
    fleet._watch.look()
    fleet.quiesce()


def codes(fleet: Fleet) -> list[str]:
    events = (decode_event(record.data, record.name) for record in fleet._store.read())
    return [event.code for event in events if isinstance(event, e.AlertRaised)]


ALLOCATE = {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1000}}
HOLD = {"type": "Reserve", "agent": "a", "estimate": {"tokens": 500}, "ttl_seconds": 1}
STATUS = {"type": "GetStatus", "agent": "a"}
GLOBAL = {"type": "GetGlobalStatus"}


def test_a_clock_that_was_ahead_for_a_moment_does_not_stop_the_timers(
    machine: Machine, running: Callable[..., Fleet]
) -> None:
    """The case as it was found: two years ahead for one report, and then right again."""
    fleet = running()
    ok(fleet.ask(ALLOCATE))
    machine.step(YEARS)
    ok(fleet.ask({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}))
    machine.step(-YEARS)
    ok(fleet.ask(HOLD))
    machine.go_on(3)
    assert ok(fleet.ask(STATUS))["held"] == {"tokens": 0}


def test_a_log_from_the_future_goes_on_by_the_time_that_passes(
    machine: Machine, running: Callable[..., Fleet], tmp_path: Any
) -> None:
    store = f"sqlite:///{tmp_path}/fleet.db"
    machine.step(YEARS)
    fleet = running(store)
    ok(fleet.ask(ALLOCATE))
    fleet.close()
    machine.step(-YEARS)
    fleet = running(store)
    look(fleet)
    assert ok(fleet.ask(GLOBAL))["clock_apart_seconds"] == -YEARS.total_seconds()
    assert codes(fleet) == ["clock_behind"]
    ok(fleet.ask(HOLD))
    machine.go_on(3)
    assert ok(fleet.ask(STATUS))["held"] == {"tokens": 0}
    look(fleet)
    assert codes(fleet) == ["clock_behind"], "once"
    fleet.close()
    fleet = running(store)
    look(fleet)
    assert codes(fleet) == ["clock_behind"], "once, also after a restart"


def test_a_step_ahead_is_shown_and_followed_when_an_operator_accepts_it(
    machine: Machine, running: Callable[..., Fleet]
) -> None:
    fleet = running()
    assert fleet.ask({"type": "AcceptClock"})["error"]["code"] == "clock_not_ahead"
    ok(fleet.ask(ALLOCATE))
    ok(fleet.ask({**HOLD, "ttl_seconds": 3600}))
    machine.step(YEARS)
    look(fleet)
    assert ok(fleet.ask(GLOBAL))["clock_apart_seconds"] == YEARS.total_seconds()
    assert codes(fleet) == ["clock_ahead"]
    assert ok(fleet.ask(STATUS))["held"] == {"tokens": 500}
    ok(fleet.ask({"type": "AcceptClock", "reason": "the battery was changed"}))
    assert "clock_apart_seconds" not in ok(fleet.ask(GLOBAL))
    (shown,) = ok(fleet.ask({"type": "GetHolds"}))["holds"]
    assert shown["expires_at"][:4] == str((START + YEARS).year), "time has come to the machine's"
    assert ok(fleet.ask(STATUS))["held"] == {"tokens": 500}, "a step is no operation"
    machine.go_on(3_599)
    assert ok(fleet.ask(STATUS))["held"] == {"tokens": 500}
    machine.go_on(1)
    assert ok(fleet.ask(STATUS))["held"] == {"tokens": 0}
    assert fleet.ask({"type": "AcceptClock"})["error"]["code"] == "clock_not_ahead"
    look(fleet)
    assert codes(fleet).count("clock_ahead") == 1


def test_a_second_step_is_noted_without_an_alert_and_accepted_with_the_first(
    machine: Machine, running: Callable[..., Fleet]
) -> None:
    fleet = running()
    ok(fleet.ask(ALLOCATE))
    ok(fleet.ask({**HOLD, "ttl_seconds": 3600}))
    for _ in range(2):
        machine.step(YEARS)
        look(fleet)
    assert ok(fleet.ask(GLOBAL))["clock_apart_seconds"] == 2 * YEARS.total_seconds()
    assert codes(fleet) == ["clock_ahead"]
    ok(fleet.ask({"type": "AcceptClock"}))
    assert ok(fleet.ask(STATUS))["held"] == {"tokens": 500}


def test_a_step_that_was_not_noted_yet_is_not_accepted(machine: Machine, running: Callable[..., Fleet]) -> None:
    fleet = running()
    ok(fleet.ask(ALLOCATE))
    ok(fleet.ask({**HOLD, "ttl_seconds": 3600}))
    machine.step(YEARS)
    look(fleet)
    machine.step(YEARS)
    ok(fleet.ask({"type": "AcceptClock"}))
    assert ok(fleet.ask(STATUS))["held"] == {"tokens": 500}
    look(fleet)
    assert ok(fleet.ask(GLOBAL))["clock_apart_seconds"] == YEARS.total_seconds()
    assert codes(fleet) == ["clock_ahead", "clock_ahead"]
