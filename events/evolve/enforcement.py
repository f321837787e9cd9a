"""How levels, an operator's orders and warnings change an account."""

from decimal import Decimal

from tallystick.events import catalog as e
from tallystick.events.state.ledger import Ledger


def change_level(ledger: Ledger, event: e.LevelChanged) -> None:
    ledger.accounts[event.agent].level = e.LEVELS.index(event.level)


def throttle(ledger: Ledger, event: e.AgentThrottled) -> None:
    ledger.accounts[event.agent].throttle = Decimal(event.rate)


def stop(ledger: Ledger, event: e.AgentStopped) -> None:
    ledger.accounts[event.agent].stopped = event.reason


def resume(ledger: Ledger, event: e.AgentResumed) -> None:
    account = ledger.accounts[event.agent]
    account.throttle = None
    account.stopped = None


def warn(ledger: Ledger, event: e.ExhaustionWarned) -> None:
    account = ledger.accounts[event.agent]
    account.warned = True
    account.warning = event.exhausted_in_seconds
