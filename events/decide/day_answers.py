"""What is answered about the day, read off the state; and the operator's word on priorities."""

from tallystick.config.amounts import COST, TOKENS
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.allocate import bad_name
from tallystick.events.decide.answers import stamp
from tallystick.events.decide.facts import limit_of
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Overridden, Refusal, Today, shown
from tallystick.events.state.ledger import Ledger


def today(ledger: Ledger) -> Today:
    """How the day stands. Limits that there are not are left out."""
    day, used = ledger.day, ledger.used_today
    return Today(
        date=day.date,
        ends_at=stamp(day.ends_at),
        used=shown((used[TOKENS], None, used[COST])),
        held=shown((ledger.held[TOKENS], None, ledger.held[COST])),
        limits=shown((limit_of(ledger, TOKENS), None, limit_of(ledger, COST))),
        breaker=day.tripped,
        silenced=list(day.silenced),
    )


def override_priority(turn: Turn, command: c.OverridePriority) -> Overridden | Refusal:
    """All tasks of a product are of this level from here on, whether they wait or come later."""
    refusal = bad_name(command.product, "product")
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    turn.record(e.PriorityOverridden(product=command.product, priority=command.priority, reason=command.reason))
    override = turn.ledger.rules.config.manual_override.priority_override
    return Overridden(command.product, override.get(command.product))
