"""At the child: what it asks of its parent and reports to it is decided here first, and sent afterwards."""

from tallystick.config.amounts import AMOUNT_MAX, DIMENSIONS, Amounts, Triple
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events.decide.answers import totals
from tallystick.events.decide.fleet_response import respond
from tallystick.events.decide.total_budget import put_total
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import delegation as d
from tallystick.events.messages.replies import Done, Refusal, Totals, shown
from tallystick.events.state.delegation import Delegation
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import Money, less, limited, money


def ask_draw(turn: Turn, command: d.AskDraw) -> Done | Refusal:
    """Ask the parent for more; one draw or return at a time."""
    own = turn.ledger.delegation
    refusal = _not_now(own)
    if refusal is not None or own is None:
        return refusal or Done()
    # Nothing can fail after this line.
    turn.record(e.DrawAsked(number=own.number + 1, amount=command.amount))
    return Done()


def ask_return(turn: Turn, command: d.AskReturn) -> Done | Refusal:
    """Give budget back: the total is lower from here on."""
    ledger = turn.ledger
    own = ledger.delegation
    refusal = _not_now(own)
    if refusal is not None or own is None:
        return refusal or Done()
    back, there = command.amount.triple, money(may_be_returned(ledger, own))
    if any(units is not None and units > there[i] for i, units in enumerate(back)):
        numbers = {"returned": shown(back), "available": shown(there)}
        return Refusal("pool_exhausted", "more would be given back than the pool has", numbers)
    # Nothing can fail after this line.
    turn.record(e.ReturnAsked(number=own.number + 1, amount=command.amount))
    _follow_total(turn, own)
    return Done()


def may_be_returned(ledger: Ledger, own: Delegation) -> Triple:
    """What a child can give back: its pool, less what it had reported as used and has corrected since."""
    pool = less(money(ledger.pool), less(own.reported, _used(ledger)))
    return limited(ledger.root.allocated, pool)


def to_report(ledger: Ledger, own: Delegation) -> Money:
    """What was used beyond what was reported. What a correction took back is made up by what is used later."""
    return less(_used(ledger), own.reported)


def _used(ledger: Ledger) -> Money:
    return (ledger.spent[0], ledger.spent[1], ledger.spent[2])


def report_range(turn: Turn, command: d.ReportRange) -> Done | Refusal:
    """Report what was used since the last report, up to this position; one report at a time."""
    ledger = turn.ledger
    own = ledger.delegation
    if own is None or own.span is not None:
        return Refusal("under_way", "the parent has not answered the last report")
    # Nothing that one message may not say: the rest comes with the next report.
    used = to_report(ledger, own)
    if not any(used):
        return Refusal("nothing_to_report", "nothing was used since the last report")
    amount = Amounts(*(min(units, AMOUNT_MAX) or None for units in used))
    # Nothing can fail after this line.
    turn.record(e.RangeReported(first=own.booked + 1, upto=ledger.position + 1, amount=amount))
    return Done()


def _not_now(own: Delegation | None) -> Refusal | None:
    if own is None:
        return Refusal("not_delegated", "this fleet has no parent")
    if own.asked is not None or own.ended:
        return Refusal("under_way", "the parent has not answered the last draw or return")
    return None


def hear_parent(turn: Turn, command: d.HearParent) -> Done | Refusal:
    """Take what the parent has answered, where it is news. An old answer changes nothing: what counts only grows."""
    ledger = turn.ledger
    own = ledger.delegation
    if own is None:
        return Refusal("not_delegated", "this fleet has no parent")
    behind = behind_parent(ledger, own, command)
    if behind is not None:
        return behind
    granted = _grown(own, command)
    settled = 0 if own.asked is None or max(command.number, command.refused) < own.asked.number else own.asked.number
    booked = 0 if own.span is None or command.booked < own.span.upto else command.booked
    stopped = ledger.stopped_above if own.ended else command.stopped
    if granted is None and not settled and not booked and stopped == ledger.stopped_above:
        return Done()
    # Nothing can fail after this line.
    turn.record(
        e.ParentAnswered(
            granted=None if granted is None else Amounts(*granted), settled=settled, booked=booked, stopped=stopped
        )
    )
    if granted is not None and not own.ended:
        _follow_total(turn, own)
    return Done()


def behind_parent(ledger: Ledger, own: Delegation, command: d.HearParent) -> Refusal | None:
    """Why this log is not the one that the parent has heard of last: it is an older copy. How long it is says nothing:
    an old copy grows, too, each time that it is opened.
    """
    reported = own.booked if own.span is None else own.span.upto
    if command.booked <= reported and command.number <= own.number:
        return None
    text = (
        f"this log is behind what its parent knows of it: the parent has booked position {command.booked} and its draw"
        f" or return {command.number}, and the log has reported up to position {reported} and asked {own.number}; it is"
        " an old copy: continue the newest one"
    )
    return Refusal("behind_parent", text, {"booked": command.booked, "position": ledger.position})


def _grown(own: Delegation, command: d.HearParent) -> Triple | None:
    """What the parent has granted in all, where it is more than was known; it never becomes less."""
    if command.granted is None:
        return None
    if own.granted is None:
        return command.granted.triple
    before, heard = money(own.granted), money(command.granted.triple)
    most = [max(before[i], heard[i]) for i in DIMENSIONS]
    found = limited(own.granted, most)
    return None if found == own.granted else found


def _follow_total(turn: Turn, own: Delegation) -> None:
    total = own.total
    if total != turn.ledger.total:
        put_total(turn, total, total, None)
        respond(turn)


def end_delegation(turn: Turn) -> Totals | Refusal:
    """Close a child fleet: nothing is granted any more, and its account at the parent will be released."""
    ledger = turn.ledger
    open_now = [name for name in ledger.names if name in ledger.accounts]
    if open_now:
        text = f"{len(open_now)} accounts are open, such as {open_now[0]}: release them first"
        return Refusal("agents_open", text, {"agent_count": len(open_now)})
    if ledger.delegation is not None and not ledger.delegation.ended:
        # Nothing can fail after this line.
        turn.record(e.DelegationEnded())
        _leave_what_was_used(turn)
    return totals(ledger)


def _leave_what_was_used(turn: Turn) -> None:
    """A closed fleet has no more than what it has used."""
    ledger = turn.ledger
    used = [min(ledger.spent[i], money(ledger.total)[i]) for i in DIMENSIONS]
    total = limited(ledger.total, used)
    # No response to pressure follows: everything is stopped.
    put_total(turn, total, total, None)


def other_parent(before: Config, config: Config) -> Refusal | None:
    """Why a configuration may not change whose account a fleet is."""
    old, new = before.delegate, config.delegate
    if (old is None) == (new is None) and (old is None or new is None or old.account == new.account):
        return None
    text = "config.delegate: a fleet keeps its parent's account, or its own total, as long as it lasts"
    return Refusal("invalid_message", text, {"key": "delegate"})
