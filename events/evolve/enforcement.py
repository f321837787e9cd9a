"""How levels, an operator's orders and warnings change an account."""

from decimal import Decimal

from tallystick.events import catalog as e
from tallystick.events.state.ledger import Ledger


def change_level(ledger: Ledger, event: e.LevelChanged) -> None:
    """An account has another level."""
    ledger.accounts[event.agent].level = e.LEVELS.index(event.level)


def throttle(ledger: Ledger, event: e.AgentThrottled) -> None:
    """An operator slows an account."""
    ledger.accounts[event.agent].throttle = Decimal(event.rate)


def stop(ledger: Ledger, event: e.AgentStopped) -> None:
    """An operator stops an account."""
    ledger.accounts[event.agent].stopped = event.reason


def resume(ledger: Ledger, event: e.AgentResumed) -> None:
    """An operator's throttle and stop of an account end."""
    account = ledger.accounts[event.agent]
    account.throttle = None
    account.stopped = None


def warn(ledger: Ledger, event: e.ExhaustionWarned) -> None:
    """An account is warned, once, that its budget runs out; its next reply carries the warning."""
    account = ledger.accounts[event.agent]
    account.warned = True
    account.warning = event.exhausted_in_seconds
