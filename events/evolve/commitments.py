"""What running tasks may still use: how it begins, shrinks and ends (see `state.commitments`)."""

from tallystick.events import catalog as e
from tallystick.events.state.ledger import Ledger

RunOver = e.TaskPreempted | e.LeaseLost | e.TaskCompleted | e.TaskCancelled | e.TaskGivenUp


def begin(ledger: Ledger, event: e.TaskStarted) -> None:
    """A run may use its token budget, or its estimate, from here on, and so may all that are opened below it."""
    product = ledger.accounts[event.task].budget_product or ""
    ledger.commitments.start(event.task, product, event.model, ledger.tasks.known[event.task].day_tokens)


def end(ledger: Ledger, event: RunOver) -> None:
    """A run is over, or a task that did not run was given up."""
    if event.task in ledger.commitments.runs:
        ledger.commitments.end(event.task)
