"""Plain reports, settlements or holds that follow one another, decided in one go: nearly all that comes is such.

What a message says by itself, what it changes, what all of them add up to and what is answered are gone through one
after the other for all of them, so that the same few lines run over and over, which a processor does in two thirds of
the time. Only what the next message depends on is done message by message.

A message of which limits, a last call, a product or the first one after an outage has something to say ends the row; it
is decided by itself (`decide.plain`). The oracle is the general path, in `tests/actors/test_facts_in_a_row.py`.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from tallystick.config.amounts import InvalidAmount, Triple
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.answers import held_beside, stamp
from tallystick.events.decide.plain import (
    has_room,
    may_go_on,
    placed,
    reported,
    said_by,
    said_by_settlement,
    settled,
    wanted_by,
    was_away,
)
from tallystick.events.decide.stretch import Stretch
from tallystick.events.evolve.holds import note_settlements, place_hold, take_back
from tallystick.events.evolve.transfers import charge_account
from tallystick.events.evolve.usage import Use, note_uses
from tallystick.events.messages.replies import Enforcement, Held, shown
from tallystick.events.state.accounts import Account, Hold
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO

Asked = tuple[c.Command, dt.datetime, str, str]
"""A command, when it came, its id, and who asked."""
Made = Sequence[tuple[e.Event, Enforcement | Held]]
"""The events of messages, one of each, and the answers."""
Plain = TypeVar("Plain", c.ReportUsage, c.Settle, c.Reserve)
Says = TypeVar("Says")
_Stand = tuple[Account, float, Triple]
"""An account, and behind a use of it its ratio, and what remains."""
_Beside = tuple[Hold, Triple]
"""A hold, and what was left free beside it."""


def reports(ledger: Ledger, stretch: Stretch, asked: Sequence[Asked]) -> Made:
    """What follows from reports, up to the first message that is not decided here."""
    uses: list[Use] = []
    stands: list[_Stand] = []
    position, now = ledger.position, ledger.now
    until = min(stretch.until, ledger.next_mark)
    for (_, at, id, by), (command, says) in zip(asked, _said(ledger, asked, c.ReportUsage, said_by), strict=False):
        known = stretch.accounts.get(says.of) or stretch.look_at(ledger, says.of)
        if known is None or not known.is_simple or at >= until:
            break
        account, used = known.account, says.used
        ratio = known.ratio_after(used, ZERO)
        if ratio is None or was_away(ledger, account) or not stretch.counts(used):
            break
        # Nothing can fail after this line.
        position += 1
        now = at if at > now else now
        charge_account(account, *used)
        uses.append((account, reported(command, says, position, now, id, by), used))
        stands.append((account, ratio, account.remaining_all()))
    if uses:
        note_uses(ledger, uses)
        stretch.position, ledger.looked_at = position, now
    return _answered([event for _, event, _ in uses], stands)


def settlements(ledger: Ledger, stretch: Stretch, asked: Sequence[Asked]) -> Made:
    """What follows from settlements, up to the first message that is not decided here."""
    ended: list[Hold] = []
    uses: list[Use] = []
    stands: list[_Stand] = []
    until = min(stretch.until, ledger.next_mark)
    for (_, at, id, by), (command, says) in zip(
        asked, _said(ledger, asked, c.Settle, said_by_settlement), strict=False
    ):
        hold = ledger.holds.get(says.of)
        known = None if hold is None else stretch.accounts.get(hold.agent) or stretch.look_at(ledger, hold.agent)
        if (
            hold is None
            or known is None
            or not known.is_simple
            or known.is_covered
            or hold.rejects_overage
            or hold.limited is not None
            or at >= until
        ):
            break
        account, used = known.account, says.used
        ratio = known.ratio_after(used, hold.amount)
        if ratio is None or was_away(ledger, account) or not stretch.counts(used):
            break
        event = settled(command, says, hold, ledger.position + 1, at if at > ledger.now else ledger.now, id, by)
        # Nothing can fail after this line.
        take_back(ledger, hold, used)
        ledger.position, ledger.now = event.position, event.at
        ended.append(hold)
        uses.append((account, event, used))
        stands.append((account, ratio, account.remaining_all()))
    if uses:
        note_settlements(ledger, ended, uses)
        stretch.position, ledger.looked_at = ledger.position, ledger.now
    return _answered([event for _, event, _ in uses], stands)


def holds(ledger: Ledger, stretch: Stretch, asked: Sequence[Asked]) -> Made:
    """What follows from holds that are asked for, up to the first that is not decided here."""
    events: list[e.HoldPlaced] = []
    stands: list[_Beside] = []
    until, ttl_ms = min(stretch.until, ledger.next_mark), ledger.rules.holds_ttl_ms
    ended = ledger.ended_holds.among([id for _, _, id, _ in asked])
    for (_, at, id, by), (command, wanted) in zip(asked, _said(ledger, asked, c.Reserve, wanted_by), strict=False):
        known, amount = stretch.accounts.get(command.agent) or stretch.look_at(ledger, command.agent), wanted.amount
        if (
            known is None
            or not known.is_simple
            or not known.may_hold
            or at >= until
            or id in ledger.holds
            or id in ended
            or not has_room(ledger, known, amount)
            or not stretch.counts(amount)
        ):
            break
        event = placed(command, wanted, ttl_ms, ledger.position + 1, at if at > ledger.now else ledger.now, id, by)
        # Nothing can fail after this line.
        place_hold(ledger, event)
        ledger.position, ledger.now = event.position, event.at
        until = min(until, event.expires_at)
        events.append(event)
        stands.append((ledger.holds[id], known.free_beside(amount)))
    if events:
        ledger.remember_all([event.id for event in events], range(events[0].position, ledger.position + 1), new=True)
        # Each expires after those before it, or with them.
        stretch.position, stretch.until = ledger.position, min(stretch.until, events[0].expires_at)
        ledger.looked_at = ledger.now
    stamps = {at: stamp(at) for at in {event.expires_at for event in events}}
    answers = [held_beside(hold, left, stamps[hold.expires_at]) for hold, left in stands]
    return list(zip(events, answers, strict=True))


def has_rows(ledger: Ledger) -> bool:
    """Whether facts of a fleet may be decided in rows: not where each may come near to a limit or a last call."""
    return not ledger.rules.limits and ledger.rules.last_call is None


ROWS: Mapping[type[c.Command], Callable[[Ledger, Stretch, Sequence[Asked]], Made]] = {
    c.ReportUsage: reports,
    c.Settle: settlements,
    c.Reserve: holds,
}
"""What decides several messages of a kind in one go."""


def _said(
    ledger: Ledger, asked: Sequence[Asked], kind: type[Plain], says: Callable[[Ledger, Any, str], Says | None]
) -> list[tuple[Plain, Says]]:
    """What messages of a kind say by themselves, up to the first that is of another, says more, or has a known id."""
    said = list[tuple[Plain, Says]]()
    try:
        for command, _, id, _ in asked[: _new(ledger, asked)]:
            if type(command) is not kind or not id or (found := says(ledger, command, id)) is None:
                break
            said.append((command, found))
    except InvalidAmount:
        pass  # it is refused by itself
    return said


def _new(ledger: Ledger, asked: Sequence[Asked]) -> int:
    """How many messages come before the first whose id is known, or is that of one before it."""
    ids = [id for _, _, id, _ in asked]
    if ledger.ids.are_new(ids):
        return len(ids)
    seen = set[str]()
    for place, id in enumerate(ids):
        if id in seen or ledger.ids.get(id) is not None:
            return place
        seen.add(id)
    return len(ids)


def _answered(events: Sequence[e.Event], stands: Sequence[_Stand]) -> Made:
    answers = [may_go_on(account, ratio, shown(left)) for account, ratio, left in stands]
    return list(zip(events, answers, strict=True))
