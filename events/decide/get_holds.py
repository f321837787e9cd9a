"""Holds that one can see: those that stand, and those that have ended while they are remembered."""

import heapq
from collections.abc import Iterable

from tallystick.events import messages as c
from tallystick.events.decide.answers import stamp
from tallystick.events.decide.refusals import end_of, unknown_hold
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Holds, HoldStatus, Refusal, shown
from tallystick.events.state.accounts import Hold, Notes
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import Money
from tallystick.events.state.remembered import EndedHold


def get_holds(turn: Turn, command: c.GetHolds) -> Holds | Refusal:
    """One hold, or a page of those of an agent or of the fleet, in the order of their ids.

    Holds are found by their agent; among those of the fleet, all that are remembered are looked at.
    """
    ledger = turn.ledger
    if command.hold is not None:
        if command.agent is not None:
            return Refusal("invalid_message", "GetHolds: allowed is one of agent and hold")
        if command.hold not in ledger.holds and command.hold not in ledger.ended_holds:
            return unknown_hold(command.hold)
        names: Iterable[str] = (command.hold,) if _has_state(ledger, command.hold, command.state) else ()
    else:
        names = _names(ledger, command)
    page = heapq.nsmallest(command.limit + 1, names)
    more = len(page) > command.limit
    page = page[: command.limit]
    return Holds([_status(ledger, name) for name in page], page[-1] if more and page else None)


def _names(ledger: Ledger, command: c.GetHolds) -> Iterable[str]:
    agent, state, after = command.agent, command.state, command.after or ""
    if state in (None, "open"):
        account = None if agent is None else ledger.accounts.get(agent)
        standing = ledger.holds if agent is None else {} if account is None else account.holds or {}
        yield from (name for name in standing if name > after)
    if state != "open":
        for ended in ledger.ended_holds.names() if agent is None else ledger.ended_holds.of(agent):
            if ended.id > after and state in (None, end_of(ended)):
                yield ended.id


def _has_state(ledger: Ledger, name: str, state: c.HoldState | None) -> bool:
    if state is None:
        return True
    return state == ("open" if name in ledger.holds else end_of(ledger.ended_holds[name]))


def _status(ledger: Ledger, name: str) -> HoldStatus:
    hold = ledger.holds.get(name)
    if hold is None:
        ended = ledger.ended_holds[name]
        return _with_notes(_ended(ended), ended.notes)
    return _with_notes(_open_hold(hold), hold.notes)


def _open_hold(hold: Hold) -> HoldStatus:
    return HoldStatus(
        hold.id,
        hold.agent,
        "open",
        placed=shown(_named(hold.placed)),
        held=shown(_named(hold.amount)),
        booked=shown(_named(hold.booked)),
        placed_at=stamp(hold.placed_at),
        expires_at=stamp(hold.expires_at),
        overage="reject" if hold.rejects_overage else "book",
        on_expiry="spend" if hold.spends else "release",
    )


def _ended(ended: EndedHold) -> HoldStatus:
    return HoldStatus(
        ended.id,
        ended.agent,
        end_of(ended),
        placed=shown(_named(ended.placed)),
        held=shown((None, None, None)),
        booked=shown(_named(ended.booked)),
        placed_at=stamp(ended.placed_at),
        ended_at=stamp(ended.at),
        on_expiry="release" if ended.spent is None else "spend",
    )


def _with_notes(status: HoldStatus, notes: Notes | None) -> HoldStatus:
    if notes is not None:
        status.labels, status.operation = notes.labels, notes.operation
        status.reason, status.ended_reason = notes.reason, notes.ended_reason
    return status


def _named(units: Money) -> tuple[int | None, int | None, int | None]:
    """What there is something of."""
    return (units[0] or None, units[1] or None, units[2] or None)
