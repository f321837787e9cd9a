"""What products are charged, where fairness across them is measured by tokens or cost (see `state.charged`)."""

from tallystick.events import catalog as e
from tallystick.events.state.accounts import Account
from tallystick.events.state.charged import Charged, weighted
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.slot_time import MINUTE_MICROS, micros
from tallystick.events.state.tasks import Task


def charge(ledger: Ledger, account: Account, event: "e.UsageReported | e.HoldSettled") -> None:
    """A report counts for the product of its account, and for the run that it is of."""
    rules = ledger.rules
    units = event.cost_nanos
    if rules.fairness_by == "tokens":
        units = weighted(event.tokens, event.input_tokens, event.output_tokens, rules.token_weights)
    if units and event.occurred_at is not None:
        ledger.charged.correct(account.budget_product or "", account.run, units, micros(event.occurred_at))
    elif units:
        ledger.charged.charge(account.budget_product or "", account.run, units, micros(event.at))


def correct(ledger: Ledger, run: str | None, event: e.UsageCorrected) -> None:
    """A correction counts for the product and, while it goes on, the run of the record."""
    rules = ledger.rules
    if rules.fairness_by == "slot_time":
        return
    units = event.cost_nanos
    if rules.fairness_by == "tokens":
        before, after = (
            weighted(said.tokens, said.input_tokens, said.output_tokens, rules.token_weights)
            for said in (event.counted, event.counts)
        )
        units = after - before
    ledger.charged.correct(event.product or "", run, units, micros(event.record.used_at))


def begin(ledger: Ledger, task: Task, event: e.TaskStarted) -> None:
    """A run counts from its start on."""
    if ledger.rules.fairness_by != "slot_time":
        ledger.charged.started(task.id, task.product, micros(event.at))


def configure(ledger: Ledger) -> None:
    """What is measured may be another now: then it is measured from here on."""
    settings = ledger.rules.config.fairness
    if ledger.rules.fairness_by != ledger.charged.by:
        ledger.charged = Charged(ledger.rules.fairness_by)
    ledger.charged.window = settings.minutes * MINUTE_MICROS
