"""The fleet is opened again; and its clock: what an outage does to leases, and clocks that are apart."""

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.alerts import alert
from tallystick.events.decide.answers import totals
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Done, Refusal, Totals
from tallystick.events.state.calendar import later
from tallystick.events.state.task_rules import lease_time

_MS_PER_MINUTE = 60_000


def open_fleet(turn: Turn, command: p.OpenFleet) -> Done:
    """Note the outage. It comes before what fell due in it, so that no lease is lost that could not be extended."""
    # The leases of agents begin anew with the event itself.
    ledger = turn.ledger
    until = later(turn.now, lease_time(ledger.rules.config)) if ledger.tasks.running else None
    turn.record(e.FleetOpened(down_since=ledger.now, leases_until=until))
    return Done()


def note_clock(turn: Turn, command: p.NoteClock) -> Done:
    """Alert operators, once, that the machine's clock and the ledger's time are apart; or note that they agree.

    A clock that stepped again while it was ahead is noted without another alert: what is accepted is what was noted.
    """
    apart, before = command.apart_ms, turn.ledger.clock_apart_ms
    if not apart:
        if before:
            turn.record(e.ClockTogether())
        return Done()
    turn.record(e.ClockApart(apart_ms=apart))
    minutes = max(1, abs(apart) // _MS_PER_MINUTE)
    if apart > 0 < before:
        return Done()
    if apart > 0:
        what = f"the machine's clock stepped {minutes} min ahead; time goes on without it until AcceptClock confirms it"
        alert(turn, "clock_ahead", what)
    else:
        what = f"the machine's clock is {minutes} min behind the fleet's log; time goes on from the log"
        alert(turn, "clock_behind", what)
    return Done()


def accept_clock(turn: Turn, command: c.AcceptClock) -> Totals | Refusal:
    """The machine's clock is right: it is followed from here on. Holds and leases keep the time they have left."""
    ahead = turn.ledger.clock_apart_ms
    if ahead <= 0:
        return Refusal("clock_not_ahead", "the machine's clock is not ahead of the fleet's time: nothing to accept")
    # Nothing can fail after this line.
    turn.record(e.ClockAccepted(ahead_ms=ahead, reason=command.reason, keeps_time_left=True))
    return totals(turn.ledger)
