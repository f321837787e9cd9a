"""What is answered about tasks: their state, and from the allocator their place and expected start."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from itertools import islice

from msgspec import UNSET

from tallystick.config.amounts import shown_minutes
from tallystick.events import catalog as e
from tallystick.events.catalog.tasks import Expected, WhyUnknown
from tallystick.events.decide.admission import hindrance, obstacle
from tallystick.events.decide.alerts import alert
from tallystick.events.decide.refusals import unknown_task
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Done, Refusal
from tallystick.events.messages.task_replies import (
    QueuedTask,
    QueueStatus,
    Reason,
    RunningTask,
    TaskStatus,
    Terms,
    shown_time,
)
from tallystick.events.state.inheritance import effective_priority, inherited_from
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.task_rules import max_tokens, max_wait, priority_of, token_budget
from tallystick.events.state.tasks import Task

_DECISIONS = {
    "running": "admitted",
    "queued": "queued",
    "waiting_on_dependencies": "waiting_on_dependencies",
    "rejected": "rejected",
}
NEWS = dt.timedelta(minutes=1)
"""A start that is expected this much earlier or later than the last answer said is recorded again."""
_MILLISECOND = dt.timedelta(milliseconds=1)


def status(
    turn: Turn,
    task: Task,
    reason: Reason | None = None,
    unknown: WhyUnknown | None = None,
    kept_for: str | None = None,
    not_before: dt.datetime | None = None,
) -> TaskStatus:
    """How a task stands. ``reason`` is why it does not run, where that is known already.

    ``unknown`` is why its start cannot be expected, ``kept_for`` the task for which what it needs is kept, and
    ``not_before`` as in `TellTask`.
    """
    ledger, config = turn.ledger, turn.ledger.rules.config
    runs = task.runs > 0 and (task.state == "running" or not task.is_open)
    reason = reason or reason_of(ledger, task)
    queued = task.state == "queued"
    if queued:
        reason = reason or kept_reason(ledger, kept_for)
    return TaskStatus(
        task=task.id,
        state=task.state,
        attempt=task.attempt,
        decision=_DECISIONS.get(task.state),
        reason=reason,
        lease=task.lease,
        model=task.model if runs else None,
        token_budget=task.token_budget if runs else token_budget(config, task.agent_type),
        max_tokens=task.max_tokens if runs else max_tokens(config, task.agent_type),
        expected_start=_shown_start(task, not_before) if queued else None,
        lease_expires_at=shown_time(task.lease_expires_at),
        expected_start_reason=_why_unknown(ledger, task, reason, unknown) if queued else None,
    )


def kept_reason(ledger: Ledger, kept_for: str | None) -> Reason | None:
    """Why a task waits that could start: what it needs is kept for an aged one, which has waited longer."""
    task = None if kept_for is None else ledger.tasks.get(kept_for)
    if task is None or task.state != "queued":
        return None
    message = f"what it needs is kept for {task.id}, which has waited too long already"
    return Reason("kept_for_older", None, None, message, task.id)


WHY_UNKNOWN: Mapping[WhyUnknown, str] = {
    "held_up": "something other than a slot is in its way",
    "behind_others": "what is free goes to others first",
    "far_behind": "it is not among the first of the queue, for which alone starts are forecast",
    "end_unknown": "the end of a task that must end before is not known",
    "beyond_calendar": "by the estimates, it would start after the end of the calendar",
}
"""Why no start can be expected, in a sentence."""


def _why_unknown(ledger: Ledger, task: Task, reason: Reason | None, unknown: WhyUnknown | None) -> str | None:
    """The sentence that stands beside an expected start that is null."""
    if task.expected_start is not None or unknown is None:
        return None
    why = hindrance(ledger, task) if unknown == "held_up" else None
    if unknown == "behind_others" and reason is not None and reason.behind is not None:
        why = reason
    return f"the start is not known: {WHY_UNKNOWN[unknown] if why is None else why.message}"


def reason_of(ledger: Ledger, task: Task) -> Reason | None:
    """Why a task does not run; None where it does, was ended by a message, or can start with the next commit."""
    match task.state:
        case "queued":
            return obstacle(ledger, task)
        case "waiting_on_dependencies":
            unmet = task.unmet
            return Reason("waiting_on_dependencies", 0, len(unmet), f"waits for {_listed(unmet)}")
    if task.code is None:
        return None
    sentence = {
        "attempts_exhausted": f"its lease was lost {task.attempt} times",
        "dependency_failed": "a task that it depends on has failed or was cancelled",
        "budget_released": "the account that it was paid from was released",
    }.get(task.code, "the configuration does not allow it to run")
    return Reason(task.code, None, None, sentence)


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(islice(names, 3))
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


# --- what the allocator adds -----------------------------------------------------------------------------------------


def answer_task(turn: Turn, command: p.TellTask) -> TaskStatus | Refusal:
    """Answer `GetTask`. An expected start that differs from the last answer is recorded."""
    task = turn.ledger.tasks.get(command.task)
    if task is None:
        return unknown_task(command.task)
    _record_expected(turn, [Expected(task.id, command.expected_start, command.unknown)])
    return status(turn, task, None, command.unknown, command.kept_for, command.not_before)


def answer_queue(turn: Turn, command: p.TellQueue) -> QueueStatus:
    """Answer `GetQueue`: what the allocator ranked, as far as it still waits, and what runs or has to stop."""
    ledger = turn.ledger
    standpoints = [one for one in command.waiting if _waits(ledger, one.task)]
    _record_expected(turn, [Expected(one.task, one.expected_start, one.unknown) for one in standpoints])
    # A victim's run is over, but its owner may not know yet.
    stopping = (
        _stopping(ledger.tasks.known[one.task], turn.now) for one in command.waiting if one.task in ledger.tasks.known
    )
    return QueueStatus(
        [_queued(turn, one, command.not_before) for one in standpoints],
        [*(_running(task) for task in ledger.tasks.running.values()), *(one for one in stopping if one is not None)],
    )


def _waits(ledger: Ledger, name: str) -> bool:
    task = ledger.tasks.get(name)
    return task is not None and task.state == "queued"


def _record_expected(turn: Turn, expected: Iterable[Expected]) -> None:
    news = [one for one in expected if _is_news(turn.ledger, one)]
    if news:
        turn.record(e.StartsExpected(starts=news))


def _is_news(ledger: Ledger, expected: Expected) -> bool:
    if not _waits(ledger, expected.task):
        return False
    before = ledger.tasks.known[expected.task].expected_start
    if before is None or expected.start is None:
        return before is not expected.start
    return abs(before - expected.start) >= NEWS


def has_passed(ledger: Ledger, expected: Expected, now: dt.datetime) -> bool:
    """Whether the start that was announced last is shown again, where this one is expected now, and has passed."""
    before = ledger.tasks.known[expected.task].expected_start
    return before is not None and before < now and not _is_news(ledger, expected)


def _shown_start(task: Task, not_before: dt.datetime | None) -> str | None:
    start = task.expected_start
    return shown_time(start if start is None or not_before is None else max(start, not_before))


def _queued(turn: Turn, one: p.QueueView, not_before: dt.datetime | None) -> QueuedTask:
    ledger = turn.ledger
    task = ledger.tasks.known[one.task]
    waited_ms = max(0, (turn.now - task.queued_at) // _MILLISECOND)
    reason = obstacle(ledger, task) or kept_reason(ledger, one.kept_for)
    source = inherited_from(ledger.tasks.known, task)
    return QueuedTask(
        task=task.id,
        product=task.product,
        agent_type=task.agent_type,
        priority=priority_of(ledger.rules.config, task.product, task.named_priority),
        queued_at=shown_time(task.queued_at) or "",
        estimated_tokens=task.estimated_tokens,
        waiting_minutes=float(shown_minutes(waited_ms)),
        score=one.score,
        terms=Terms(one.priority, one.wait, one.blocking),
        aged=one.aged,
        reason=reason,
        expected_start=_shown_start(task, not_before),
        expected_start_reason=_why_unknown(ledger, task, reason, one.unknown),
        effective_priority=UNSET if source is None else effective_priority(task),
        inherited_from=UNSET if source is None else source.id,
    )


def _running(task: Task) -> RunningTask:
    return RunningTask(
        task.id,
        task.agent_type,
        task.product,
        task.model,
        shown_time(task.started_at) or "",
        shown_time(task.lease_expires_at) or "",
        stopping=False,
    )


def _stopping(task: Task, now: dt.datetime) -> RunningTask | None:
    """A run whose slot was taken away, as long as its owner may still work on."""
    run = task.stopping(now)
    if run is None:
        return None
    until = shown_time(run.until) or ""
    return RunningTask(
        task.id, task.agent_type, task.product, task.model, shown_time(task.started_at) or "", until, stopping=True
    )


def record_overdue(turn: Turn, command: p.RecordOverdue) -> Done | Refusal:
    """A task has waited longer than its priority allows: operators are alerted, once."""
    ledger = turn.ledger
    task = ledger.tasks.get(command.task)
    if task is None or task.state != "queued" or task.overdue:
        return Refusal("plan_out_of_date", f"{command.task} does not wait, or was reported as overdue before")
    level = priority_of(ledger.rules.config, task.product, task.named_priority)
    allowed, waited = max_wait(ledger.rules.config, level), turn.now - task.queued_at
    if waited < allowed:
        return Refusal("plan_out_of_date", f"{command.task} has not waited longer than its priority allows")
    # Nothing can fail after this line.
    waited_ms, allowed_ms = waited // _MILLISECOND, allowed // _MILLISECOND
    turn.record(e.TaskOverdue(task=task.id, waited_ms=waited_ms, allowed_ms=allowed_ms))
    how = f"has waited {waited_ms // 60_000} minutes" if allowed_ms else "waits, although its priority allows no wait"
    reason = obstacle(ledger, task)
    why = "" if reason is None else f": {reason.message}"
    alert(turn, "task_overdue", f"{task.id} ({level}, {task.product}) {how}{why}", task.id)
    return Done()
