"""What happens because time passes: holds and leases expire, days and periods begin. No message asks for it."""

import datetime as dt

from tallystick.events import catalog as e
from tallystick.events.decide import breaker, daily_limits, holds, leases, limit_windows
from tallystick.events.decide.totals import renew_period
from tallystick.events.decide.turn import CLOCK, Turn
from tallystick.events.state.calendar import NEVER
from tallystick.events.state.ledger import Ledger


def pass_time(ledger: Ledger, now: dt.datetime) -> list[e.Event]:
    """Let everything happen that is due by ``now`` (see `Ledger.due_at`), each in its order; the events of it.

    A hold or a lease expires, a day or a period begins. Holds, or leases, of which several are due with nothing else in
    between end together: what they give back goes up the tree once. The events are caused by `CLOCK`, with the id "".
    """
    turn = Turn(ledger, now, "", CLOCK)
    ledger.leases.look(turn.now)
    while (due := ledger.due_at()) <= turn.now and due != NEVER:
        if ledger.expiries and ledger.expiries[0][0] == due:
            holds.expire_holds(turn, min(turn.now, ledger.due_beside_holds()))
        elif ledger.tasks.due_at() == due and not ledger.is_paused:
            leases.lose_leases(turn, min(turn.now, ledger.turns_at(), ledger.agent_lease_ends_at()))
        elif ledger.agent_lease_ends_at() == due:
            leases.end_agent_lease(turn, ledger.leases.first())
        elif ledger.day.ends_at == due:
            daily_limits.begin_day(turn)
            limit_windows.level_owners(turn, ("day",))
        elif ledger.limits.due == due:
            limit_windows.begin_windows(turn)
        else:
            renew_period(turn)
        if breaker.is_crossed(ledger):
            breaker.record_crossings(turn)
    return turn.events
