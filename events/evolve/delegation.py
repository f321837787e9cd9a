"""How a delegation changes, at either end."""

from tallystick.events import catalog as e
from tallystick.events.evolve.fleet import resume_all_leases
from tallystick.events.state.delegation import ENDED, NOT_ASKED, Asked, Child, Delegation, Span
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import money, plus

# --- at the parent ----------------------------------------------------------------------------------------------------


def hand_over(ledger: Ledger, event: e.BudgetAllocated) -> None:
    """An account has opened for another fleet."""
    if event.delegated:
        ledger.delegated[event.agent] = Child(event.position)


def bind_child(ledger: Ledger, event: e.ChildBound) -> None:
    """A fleet has taken the account."""
    ledger.delegated[event.agent].fleet = event.fleet


def count_draw(ledger: Ledger, event: e.BudgetDrawn) -> None:
    """A draw of the child is booked."""
    if event.number:
        ledger.delegated[event.agent].number = event.number


def count_return(ledger: Ledger, event: e.BudgetReturned) -> None:
    """A return of the child is booked."""
    if event.number:
        child = ledger.delegated[event.agent]
        child.number, child.returned = event.number, plus(child.returned, money(event.amount.triple))


# --- at the child -----------------------------------------------------------------------------------------------------


def begin(ledger: Ledger, event: e.ConfigLoaded) -> None:
    """The fleet's total comes from a parent: nothing may be granted before that has answered."""
    settings = ledger.rules.config.delegate
    if settings is not None and ledger.delegation is None:
        ledger.delegation, ledger.stopped_above = Delegation(settings.account), NOT_ASKED


def ask_draw(ledger: Ledger, event: e.DrawAsked) -> None:
    """The parent will be asked for more."""
    own = _own(ledger)
    own.number, own.asked = event.number, Asked("draw", event.number, event.amount.triple)


def ask_return(ledger: Ledger, event: e.ReturnAsked) -> None:
    """The parent will be given back what is not this fleet's any more."""
    own = _own(ledger)
    own.number, own.asked = event.number, Asked("return", event.number, event.amount.triple)
    own.returned = plus(own.returned, money(event.amount.triple))


def report_range(ledger: Ledger, event: e.RangeReported) -> None:
    """What was used will be reported to the parent."""
    own, amount = _own(ledger), money(event.amount.triple)
    own.span, own.reported = Span(event.first, event.upto, amount), plus(own.reported, amount)


def hear_parent(ledger: Ledger, event: e.ParentAnswered) -> None:
    """The parent has answered."""
    own = _own(ledger)
    if event.granted is not None:
        own.granted = event.granted.triple
    if event.settled and own.asked is not None:
        own.asked = None
    if event.booked:
        own.booked, own.span = event.booked, None
    was_paused, ledger.stopped_above = ledger.is_paused, event.stopped
    if was_paused and not ledger.is_paused:
        resume_all_leases(ledger, event)


def end(ledger: Ledger, event: e.DelegationEnded) -> None:
    """The fleet is closed."""
    _own(ledger).ended = True
    ledger.stopped_above = ENDED


def _own(ledger: Ledger) -> Delegation:
    assert ledger.delegation is not None
    return ledger.delegation
