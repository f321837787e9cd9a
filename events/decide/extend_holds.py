"""More time, or more money, for a hold that stands."""

import datetime as dt
from typing import NamedTuple

from tallystick.config.amounts import Amounts, Triple
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.amounts import SPAN_MAX_MS, not_empty, span_ms
from tallystick.events.decide.answers import held_reply
from tallystick.events.decide.fleet_response import respond
from tallystick.events.decide.holds import refused_hold
from tallystick.events.decide.limits import over_limit_more
from tallystick.events.decide.refusals import hold_ended, unknown_hold
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Held, Refusal
from tallystick.events.state.accounts import Hold
from tallystick.events.state.calendar import later


class Extension(NamedTuple):
    """What a sign of life asks for a hold: a time to live, or a longer one than it had, in milliseconds, and an amount;
    None where not named.
    """

    ttl_ms: int | None
    longer_ms: int | None
    more: Triple | None


def extension(command: c.Heartbeat) -> Extension:
    """What a message asks for a hold, whether there is one or not.

    Raises:
        InvalidAmount: a malformed, empty or zero amount, or a time to live that is not positive.
    """
    more = None if command.amount is None else not_empty(command.amount, "amount")
    longer = command.extend_seconds
    return Extension(
        None if command.ttl_seconds is None else span_ms(command.ttl_seconds, "ttl_seconds"),
        None if longer is None else span_ms(longer, "extend_seconds"),
        more,
    )


def extend_hold(turn: Turn, hold_id: str, asked: Extension) -> Held | Refusal:
    """Move a hold's expiry on by its time to live, or the one that is named, and hold more if there is room.

    Where there is no room it is refused as a `Reserve` would be, and the hold stays as it is.
    """
    ledger, more = turn.ledger, asked.more
    hold = ledger.holds.get(hold_id)
    if hold is None:
        ended = ledger.ended_holds.get(hold_id)
        return unknown_hold(hold_id) if ended is None else hold_ended(hold_id, ended)
    refusal = None
    if more is not None:
        refusal = refused_hold(turn, hold.account, more, last_call=hold.last_call, begun=True)
        refusal = refusal or over_limit_more(turn, hold, more)
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    turn.record(
        e.HoldExtended(
            hold=hold.id,
            agent=hold.account.id,
            expires_at=_extended(turn, hold, asked),
            amount=None if more is None else Amounts(*(units or None for units in more)),
        )
    )
    if more is not None:
        respond(turn)
    return held_reply(hold)


def _extended(turn: Turn, hold: Hold, asked: Extension) -> dt.datetime:
    """When a hold expires from now on: never earlier than before, and with ``longer_ms`` at most a week from now."""
    if asked.longer_ms is not None:
        wanted = later(hold.expires_at, dt.timedelta(milliseconds=asked.longer_ms))
        wanted = min(wanted, later(turn.now, dt.timedelta(milliseconds=SPAN_MAX_MS)))
    else:
        wanted = later(turn.now, dt.timedelta(milliseconds=hold.ttl_ms if asked.ttl_ms is None else asked.ttl_ms))
    return max(wanted, hold.expires_at)
