"""How each event changes the state. It never fails and never decides: what an event says has happened.

``table`` has a row for each event, with the steps that it takes; the steps are in the other files, by topic. Money
moves by the amounts that the event names; that it all adds up is checked elsewhere (``state.conservation``).
"""

from tallystick.events.catalog import Event, UsageReported
from tallystick.events.evolve.table import STEPS, Step
from tallystick.events.evolve.usage import book_use
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import Money


def evolve(ledger: Ledger, event: Event) -> None:
    """Apply one event, the next one of the log, to the state."""
    is_new_minute = event.at >= ledger.next_mark
    if is_new_minute:
        ledger.day.mark(event.at, ledger.spent)
    _STEP[type(event)](ledger, event)
    _come_to(ledger, event, is_new_minute)


def evolve_use(ledger: Ledger, account: Account, event: UsageReported, used: Money) -> None:
    """`evolve` of a report that says only what an open account has ``used``."""
    is_new_minute = event.at >= ledger.next_mark
    if is_new_minute:
        ledger.day.mark(event.at, ledger.spent)
    book_use(ledger, account, event, used)
    _come_to(ledger, event, is_new_minute)


def _come_to(ledger: Ledger, event: Event, is_new_minute: bool) -> None:
    """The state is that behind an event."""
    ledger.position = event.position
    ledger.now = event.at
    if event.id:
        ledger.remember(event.id, event.position)
    if is_new_minute:
        ledger.mark(event.position, event.at)


def _in_order(steps: tuple[Step, ...]) -> Step:
    """Several steps as one function. A single step is called directly: nearly all events have one."""
    if len(steps) == 1:
        return steps[0]

    def take_all(ledger: Ledger, event: Event) -> None:
        for step in steps:
            step(ledger, event)

    return take_all


_STEP = {event: _in_order(steps) for event, steps in STEPS.items()}
