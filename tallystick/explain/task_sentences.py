"""What an event of tasks says, in a sentence for people."""

from collections.abc import Callable, Mapping
from typing import Any

from tallystick.cli.common import shown_time
from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events.messages.task_replies import shown_minutes

Amount = Callable[[Amounts], str]


def _submitted(event: e.TaskSubmitted) -> str:
    level = f"{event.priority} " if event.priority else ""
    text = f"{event.task} was submitted: {level}{event.agent_type} for {event.product}"
    text += f", estimated at {event.estimated_tokens:,} tokens"
    if event.estimated_ms is not None:
        text += f" and {lasted(event.estimated_ms)}"
    if event.learnt:
        text += " (as agent memory has it)"
    if event.parent is not None:
        text += f", paid from {event.parent}"
    return text + (f", after {', '.join(event.depends_on)}" if event.depends_on else "")


def lasted(elapsed_ms: int) -> str:
    """A span of time, in minutes."""
    minutes = shown_minutes(elapsed_ms)
    return f"{minutes} minute{'s' if minutes != 1 else ''}"


def _queued(event: e.TaskQueued) -> str:
    if event.code is None:
        return f"{event.task} waits for nothing but a slot: its dependencies were met"
    expected = (
        "" if event.expected_start is None else f"; it was expected to start at {shown_time(event.expected_start)}"
    )
    return f"{event.task} was queued, {event.code}: {event.message}{expected}"


def _started(event: e.TaskStarted) -> str:
    text = f"{event.task} was admitted on {event.model}, attempt {event.attempt}, with {event.lease} until "
    text += f"{shown_time(event.expires_at)}: {event.token_budget:,} tokens, {event.max_tokens:,} at most"
    return text + ("; it had waited so long that it went before all others" if event.aged else "")


def _lost(event: e.LeaseLost) -> str:
    then = "waits again" if event.then == "queued" else "has failed"
    return f"{event.lease} of {event.task} was lost in attempt {event.attempt}: {event.task} {then}"


def _given_up(event: e.TaskGivenUp) -> str:
    why = {
        "dependency_failed": f"it depends on {event.because}, which will not be completed",
        "budget_released": f"{event.because}, which it was to be paid from, was released",
    }[event.code]
    return f"{event.task} was cancelled, {event.code}: {why}"


def _expected(event: e.StartsExpected) -> str:
    told = ", ".join(
        f"{one.task} at {shown_time(one.start)}" if one.start is not None else f"{one.task} at no known time"
        for one in event.starts
    )
    return f"it was told when tasks are expected to start: {told}"


def _adjusted(event: e.EstimateAdjusted) -> str:
    of = "" if event.model is None else f" on {event.model}"
    parts = [] if event.tokens is None else [f"{event.tokens:,} tokens"]
    parts += [] if event.elapsed_ms is None else [lasted(event.elapsed_ms)]
    return f"{event.agent_type} for {event.product}{of} is estimated at {' and '.join(parts)} from here on"


def sentences(some: Amount) -> Mapping[type[e.Event], Callable[[Any], str]]:
    """By class of event what says it; ``some`` writes amounts."""
    return {
        e.TaskSubmitted: _submitted,
        e.DependenciesAwaited: lambda x: f"{x.task} cannot start before these are completed: {', '.join(x.unfinished)}",
        e.TaskQueued: _queued,
        e.TaskRejected: lambda x: f"{x.task} was rejected, {x.code}: {x.message}",
        e.TaskStarted: _started,
        e.LeaseExtended: lambda x: f"{x.lease} of {x.task} now lasts until {shown_time(x.expires_at)}",
        e.TokenBudgetPassed: lambda x: (
            f"{x.task} has used {x.consumed:,} tokens and passed its token budget of {x.token_budget:,};"
            f" its end is at {x.max_tokens:,}"
        ),
        e.TaskPreempted: lambda x: f"{x.task} lost its slot ({x.lease}) to {x.beneficiary}, and waits again",
        e.PreemptionAcknowledged: lambda x: f"whoever worked on {x.task} under {x.lease} knows that the slot is gone",
        e.LeaseLost: _lost,
        e.TaskCompleted: lambda x: (
            f"{x.task} was {x.outcome} in attempt {x.attempt}, after {lasted(x.elapsed_ms)}: {some(x.consumed)} used,"
            f" {x.estimated_tokens:,} tokens estimated"
        ),
        e.TaskCancelled: lambda x: f"{x.task} was cancelled",
        e.TaskGivenUp: _given_up,
        e.TaskOverdue: lambda x: (
            f"{x.task} has waited {lasted(x.waited_ms)}, longer than the {lasted(x.allowed_ms)} that its level allows"
        ),
        e.StartsExpected: _expected,
        e.EstimateAdjusted: _adjusted,
    }
