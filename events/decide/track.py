"""Track: reports of usage and signs of life, of an agent, of a run of a task, or of a hold."""

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.answers import enforcement, lease_end
from tallystick.events.decide.delegated import bind, booked_before, foreign_child
from tallystick.events.decide.extend_holds import extend_hold, extension
from tallystick.events.decide.leases import extend_lease, last_lease, was_lost, which_run
from tallystick.events.decide.levels import STOP, relevel_under
from tallystick.events.decide.occurred import misdated
from tallystick.events.decide.own_limits import ratio
from tallystick.events.decide.provider_refusals import close_limits, misplaced, retry_ms, says_usage
from tallystick.events.decide.refusals import unknown_agent
from tallystick.events.decide.spelling import is_renamed, legible
from tallystick.events.decide.turn import Turn
from tallystick.events.decide.usage import book
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Enforcement, Held, Refusal
from tallystick.events.messages.task_replies import TaskAlive


def report_usage(turn: Turn, command: c.ReportUsage, known: p.ApplySource | None = None) -> Enforcement | Refusal:
    """Record what an agent, or a run of a task, says it spent. Usage is a fact: it is never refused, whatever it is.

    What a run used that is over is charged to who paid for that run. That a provider has refused a request is a fact
    like usage, with or without any. ``known``: what is recorded of its source already.

    Raises:
        InvalidAmount: a malformed amount; nothing was recorded.
    """
    if not command.rate_limited:
        return misplaced(command) or _report(turn, command, known)
    after_ms, answer = retry_ms(command), None
    if says_usage(command):
        answer = _report(turn, command, known)
    elif (command.task is None) == (command.agent is None):
        answer = _none_or_both(command)
    if isinstance(answer, Refusal):
        return answer
    named = legible(turn.ledger, command)
    closed = close_limits(turn, named, named.agent or named.task or "", after_ms)
    if answer is None:
        return closed
    if answer.action != e.ACTIONS[STOP]:
        answer.action, answer.throttle_rate = closed.action, closed.throttle_rate
        answer.wait_seconds, answer.decided_by = closed.wait_seconds, closed.decided_by
    answer.obstacles = closed.obstacles
    return answer


def _report(turn: Turn, command: c.ReportUsage, known: p.ApplySource | None) -> Enforcement | Refusal:
    ledger, asked = turn.ledger, command
    refusal = misdated(turn, asked)
    if refusal is not None:
        return refusal
    command = legible(ledger, asked)
    repaired = command is not asked or is_renamed(turn.id, asked)
    if command.child is not None:
        return _report_of_child(turn, command)
    if command.task is None and command.agent is not None and command.lease is None:
        return book(turn, command, command.agent, repaired=repaired, known=known)
    if command.task is None or command.agent is not None:
        return _none_or_both(command)
    task = ledger.tasks.get(command.task)
    if task is None:
        return book(turn, command, command.task, repaired=repaired, known=known)
    run = which_run(task, command.lease)
    if run == "current" or not (task.ended or task.state == "running"):
        return book(turn, command, task.id, repaired=repaired, known=known)
    lease = command.lease or last_lease(task)
    answer = book(turn, command, task.id, lease, ledger.payer_of_run(task), repaired=repaired, known=known)
    if run == "preempted":
        turn.record(e.PreemptionAcknowledged(task=task.id, lease=lease or ""))
    answer.lease_lost = was_lost(task)
    if answer.lease_lost:
        answer.action, answer.throttle_rate, answer.decided_by = e.ACTIONS[STOP], 0.0, "lease"
    return answer


def _report_of_child(turn: Turn, command: c.ReportUsage) -> Enforcement | Refusal:
    """Book what a child fleet has used between two positions of its log, once."""
    ledger, child, agent = turn.ledger, command.child, command.agent
    if agent is None or command.task is not None or child is None:
        return Refusal("invalid_message", "ReportUsage: allowed beside child is agent")
    before = booked_before(ledger, agent, child)
    if isinstance(before, Refusal):
        return before
    if before:
        account = ledger.accounts.get(agent)
        ratio_now = 0.0 if account is None else ratio(ledger, account)
        answer = enforcement(turn, agent, account, ratio_now, None, ledger.released.get(agent))
        answer.recorded = False
    else:
        bind(turn, agent, child)
        answer = book(turn, command, agent)
    answer.booked = ledger.delegated[agent].booked
    return answer


def _none_or_both(command: c.ReportUsage) -> Refusal:
    given = [name for name in ("agent", "task", "lease") if getattr(command, name) is not None]
    text = f"found {' and '.join(given) or 'neither agent nor task'}, allowed is one of agent and task, and a lease"
    return Refusal("invalid_message", f"ReportUsage: {text} beside a task only")


def heartbeat(turn: Turn, command: c.Heartbeat) -> Held | Enforcement | TaskAlive | Refusal:
    """A sign of life: of an agent, of a hold or of a run; what expires does so later.

    Raises:
        InvalidAmount: an amount, or a time to live, that no hold may have.
    """
    asked = extension(command)
    named = sum(name is not None for name in (command.agent, command.task, command.hold))
    if named != 1 or (command.lease is not None and command.task is None):
        return Refusal(
            "invalid_message", "Heartbeat: allowed is one of agent, task and hold, and a lease beside a task only"
        )
    if command.hold is None and any(asked):
        text = "Heartbeat: ttl_seconds, extend_seconds and amount are allowed beside a hold only"
        return Refusal("invalid_message", text)
    if asked.ttl_ms is not None and asked.longer_ms is not None:
        return Refusal("invalid_message", "Heartbeat: allowed is one of ttl_seconds and extend_seconds")
    if command.task is not None:
        return extend_lease(turn, command.task, command.lease)
    if command.hold is not None:
        return extend_hold(turn, command.hold, asked)
    assert command.agent is not None
    account = turn.ledger.accounts.get(command.agent)
    if account is None:
        return unknown_agent(turn.ledger, command.agent)
    refusal = None if command.child is None else foreign_child(turn.ledger, account.id, command.child)
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    if command.child is not None:
        bind(turn, account.id, command.child)
    turn.record(e.AgentHeard(agent=account.id))
    relevel_under(turn, account)
    answer = enforcement(turn, account.id, account, ratio(turn.ledger, account), None)
    answer.lease_expires_at = lease_end(turn.ledger, account)
    return answer
