"""Enforce: the operator's explicit orders to one agent and all below it, and the early warning."""

from tallystick.config.amounts import InvalidAmount
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.alerts import alert
from tallystick.events.decide.answers import overrides
from tallystick.events.decide.refusals import unknown_agent
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Done, Overrides, Refusal
from tallystick.events.state.accounts import Account

_RATE_DIGITS = 9


def throttle(turn: Turn, command: c.Throttle) -> Overrides | Refusal:
    """Slow an agent and its descendants until `Resume`.

    Raises:
        InvalidAmount: a rate that is not above 0 and at most 1.
    """
    rate = command.rate
    if not rate.is_finite() or not 0 < rate <= 1 or rate.adjusted() < -_RATE_DIGITS:
        raise InvalidAmount("rate", rate, "a share of normal speed, from 0.000000001 to 1")
    account = _open_account(turn, command.agent)
    if isinstance(account, Refusal):
        return account
    # Nothing can fail after this line.
    turn.record(e.AgentThrottled(agent=account.id, rate=str(rate)))
    return overrides(turn.ledger, account.id)


def stop(turn: Turn, command: c.Stop) -> Overrides | Refusal:
    """Stop an agent and its descendants until `Resume`: also an id whose account is released, and for later ones."""
    ledger = turn.ledger
    if command.agent not in ledger.accounts and command.agent not in ledger.released:
        return unknown_agent(ledger, command.agent)
    # Nothing can fail after this line.
    turn.record(e.AgentStopped(agent=command.agent, reason=command.reason))
    return overrides(ledger, command.agent)


def resume(turn: Turn, command: c.Resume) -> Overrides | Refusal:
    """Clear an explicit throttle and stop; levels and the fleet's response are not an operator's to clear."""
    ledger = turn.ledger
    if command.agent not in ledger.accounts and command.agent not in ledger.stops:
        return unknown_agent(ledger, command.agent)
    # Nothing can fail after this line.
    turn.record(e.AgentResumed(agent=command.agent))
    return overrides(ledger, command.agent)


def warn_agent(turn: Turn, command: p.WarnAgent) -> Done | Refusal:
    """Warn an agent (with its next reply) and the operators, once until there is more budget."""
    account = _open_account(turn, command.agent)
    if isinstance(account, Refusal):
        return account
    if command.opened_at not in (None, account.opened_at):
        return Refusal("plan_out_of_date", f"{account.id} was released, and is another account now")
    if account.warned:
        return Refusal("already_warned", f"{account.id} was warned before", {"agent": account.id})
    # Nothing can fail after this line.
    seconds = command.exhausted_in_seconds
    turn.record(e.ExhaustionWarned(agent=account.id, exhausted_in_seconds=seconds, method=command.method))
    alert(turn, "exhaustion_expected", f"{account.id} will have used up its budget in about {seconds} s", account.id)
    return Done()


def _open_account(turn: Turn, agent: str) -> Account | Refusal:
    return turn.ledger.accounts.get(agent) or unknown_agent(turn.ledger, agent)
