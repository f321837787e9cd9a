"""Placing: a submitted task is admitted, queued, held back or rejected, in one transaction and with one answer."""

from collections import Counter
from collections.abc import Sequence

from tallystick.config.amounts import Amounts
from tallystick.config.spelling import are_plain
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.admission import impossible, may_give_way, needs, obstacle, payer
from tallystick.events.decide.allocate import open_account
from tallystick.events.decide.amounts import wait_ms
from tallystick.events.decide.delegated import only_its_fleet
from tallystick.events.decide.facts import model_for
from tallystick.events.decide.pool import open_reserve_for
from tallystick.events.decide.release import close_account
from tallystick.events.decide.spelling import bad_name, first_misspelling, free_labels
from tallystick.events.decide.task_answers import kept_reason, status
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Done, Refusal
from tallystick.events.messages.task_replies import Reason, TaskStatus
from tallystick.events.state.accounts import RESERVED_NAMES
from tallystick.events.state.calendar import later
from tallystick.events.state.inheritance import effective_priority
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.task_rules import exact_minutes, lease_time, priority_of, token_budget
from tallystick.events.state.tasks import Task


def place_task(turn: Turn, command: p.PlaceTask) -> TaskStatus | Refusal:
    """Take a task in, and give it a slot if there is one for it.

    Raises:
        InvalidAmount: an estimate of minutes that cannot be kept exactly, or a wait that is none.
    """
    ledger, wanted = turn.ledger, command.submitted
    wait_ms(wanted.wait_seconds)
    given_ms = exact_minutes(wanted.estimated_minutes, "estimated_minutes")
    refusal = _why_not_taken(turn, wanted)
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    # With the next event, a task that ended long ago may be forgotten: what is to be known of it is asked before.
    failed = _failed_dependency(ledger, wanted.depends_on)
    submitted = submission(ledger, wanted, given_ms)
    turn.record(submitted)
    task = ledger.tasks.known[wanted.task]
    reason = failed or impossible(ledger, task)
    if reason is not None:
        turn.record(
            e.TaskRejected(
                task=task.id,
                code=reason.code,
                limit=reason.limit,
                current=reason.current,
                message=reason.message,
            )
        )
    elif task.unmet:
        turn.record(e.DependenciesAwaited(task=task.id, unfinished=list(task.unmet)))
    else:
        reason = _admit_or_queue(turn, task, command)
    return status(turn, task, reason, command.unknown)


def _admit_or_queue(turn: Turn, task: Task, command: p.PlaceTask) -> Reason | None:
    """Start a task, or let it wait; why it waits."""
    ledger = turn.ledger
    victim = None if command.victim is None else ledger.tasks.running.get(command.victim)
    reason = obstacle(ledger, task)
    if reason is None:
        reason = _goes_first(ledger, command)
    elif victim is not None and may_give_way(ledger, task, victim, turn.now):
        _start(turn, task, command, victim)
        return None
    if reason is None:
        _start(turn, task, command)
    else:
        turn.record(
            e.TaskQueued(
                task=task.id,
                code=reason.code,
                limit=reason.limit,
                current=reason.current,
                message=reason.message,
                expected_start=command.expected_start,
                behind=reason.behind,
                unknown=command.unknown,
            )
        )
    return reason


def _goes_first(ledger: Ledger, command: p.PlaceTask) -> Reason | None:
    """Why a task that could start waits all the same: for one that ranks higher and can start too, or that is aged."""
    known = ledger.tasks.known
    behind = known.get(command.behind) if command.behind is not None else None
    if behind is not None and behind.state == "queued" and obstacle(ledger, behind) is None:
        return Reason("outranked", None, None, f"{behind.id} ranks higher and waits for the same slot", behind.id)
    return kept_reason(ledger, command.kept_for)


_NAMED = ("task", "agent_type", "product", "workflow", "model")


def _why_not_taken(turn: Turn, wanted: c.SubmitTask) -> Refusal | None:
    """Why a task cannot be taken in at all: shape, then existence."""
    ledger = turn.ledger
    names = (wanted.task, wanted.agent_type, wanted.product, wanted.workflow or "", wanted.model or "")
    if not are_plain(*names) or not RESERVED_NAMES.isdisjoint(names):
        for field, name in zip(_NAMED, names, strict=True):
            refusal = bad_name(ledger, name, field)
            if refusal is not None:
                return refusal
    refusal = first_misspelling(ledger, free_labels(wanted.labels)) if wanted.labels else None
    if refusal is not None:
        return refusal
    if wanted.depends_on and len(set(wanted.depends_on)) < len(wanted.depends_on):
        twice, _ = Counter(wanted.depends_on).most_common(1)[0]
        return Refusal("invalid_message", f"depends_on: {twice} is named twice")
    known = ledger.tasks.get(wanted.task)
    if known is not None and known.state != "rejected":
        numbers = {"task": known.id, "state": known.state}
        return Refusal("already_submitted", f"{known.id} was submitted before, and is {known.state}", numbers)
    if wanted.task in ledger.accounts:
        text = f"{wanted.task} has an open account, and a task would need one of the same name"
        return Refusal("already_allocated", text, {"agent": wanted.task})
    refusal = None if wanted.parent is None else _unfit_parent(ledger, wanted.parent)
    if refusal is not None:
        return refusal
    if wanted.task in wanted.depends_on:
        return Refusal("dependency_cycle", f"{wanted.task} would wait for itself", {"task": wanted.task})
    for name in wanted.depends_on:
        if ledger.tasks.get(name) is None:
            text = f"no task {name} is known: a task is submitted after those that it depends on"
            return Refusal("unknown_dependency", text, {"dependency": name})
    return None


def _unfit_parent(ledger: Ledger, parent: str) -> Refusal | None:
    """Why a run may not be paid from an account."""
    account = ledger.accounts.get(parent)
    if account is None:
        return Refusal("unknown_parent", f"no account is open for {parent}", {"parent": parent})
    return only_its_fleet(account, "its tasks run in that fleet")


def submission(ledger: Ledger, wanted: c.SubmitTask, given_ms: int | None) -> e.TaskSubmitted:
    """What is submitted, with estimates from memory where none are given; for tokens, at last the type's budget.

    0 tokens where there is no estimate at all.
    """
    known = ledger.estimates.estimate(wanted.agent_type, wanted.product, wanted.model)
    tokens, elapsed_ms = wanted.estimated_tokens, given_ms
    learnt = (tokens is None and known.tokens is not None) or (elapsed_ms is None and known.elapsed_ms is not None)
    if tokens is None:
        tokens = known.tokens
    assumed = tokens is None
    if tokens is None:
        tokens = token_budget(ledger.rules.config, wanted.agent_type)
    return e.TaskSubmitted(
        task=wanted.task,
        agent_type=wanted.agent_type,
        product=wanted.product,
        priority=wanted.priority,
        estimated_tokens=tokens or 0,
        estimated_ms=known.elapsed_ms if elapsed_ms is None else elapsed_ms,
        learnt=learnt,
        assumed=assumed,
        depends_on=wanted.depends_on,
        blocks=wanted.blocks,
        workflow=wanted.workflow,
        model=wanted.model,
        parent=wanted.parent,
        labels=wanted.labels or None,
    )


def _failed_dependency(ledger: Ledger, depends_on: Sequence[str]) -> Reason | None:
    """What a task depends on may have failed before it came."""
    for name in depends_on:
        needed = ledger.tasks.known[name]
        if not needed.is_open and needed.state != "completed":
            return Reason("dependency_failed", None, None, f"{name}, which it depends on, was {needed.state}")
    return None


# --- the queue --------------------------------------------------------------------------------------------------------


def start_task(turn: Turn, command: p.StartTask) -> Done | Refusal:
    """Give a waiting task the slot that is free for it."""
    task = turn.ledger.tasks.get(command.task)
    if task is None or task.state != "queued":
        return _not_queued(command.task)
    reason = obstacle(turn.ledger, task)
    if reason is not None:
        return Refusal(reason.code, reason.message, {"limit": reason.limit, "current": reason.current})
    # Nothing can fail after this line.
    _start(turn, task, command)
    return Done()


def preempt_task(turn: Turn, command: p.PreemptTask) -> Done | Refusal:
    """Pass a running task's slot to a waiting one: the victim waits again, since when it was queued."""
    ledger = turn.ledger
    task, victim = ledger.tasks.get(command.beneficiary), ledger.tasks.running.get(command.task)
    if task is None or task.state != "queued":
        return _not_queued(command.beneficiary)
    if victim is None or not may_give_way(ledger, task, victim, turn.now):
        return Refusal("plan_out_of_date", f"{command.task} has no slot that {task.id} may take")
    # Nothing can fail after this line.
    _start(turn, task, command, victim)
    return Done()


def _not_queued(name: str) -> Refusal:
    return Refusal("plan_out_of_date", f"{name} does not wait for a slot")


_Placing = p.PlaceTask | p.StartTask | p.PreemptTask


def _start(turn: Turn, task: Task, command: _Placing, victim: Task | None = None) -> None:
    """Account, slot, model and lease, all at once. Its money is there before a victim gives any back."""
    ledger, config = turn.ledger, turn.ledger.rules.config
    wanted, parent = needs(ledger, task), payer(ledger, task)
    level = priority_of(config, task.product, task.named_priority)
    open_reserve_for(turn, task.id, parent.payers, wanted)
    open_account(
        turn,
        e.BudgetAllocated(
            agent=task.id,
            amount=Amounts(*wanted),
            priority=level,
            parent=task.parent,
            agent_type=task.agent_type,
            product=task.product,
            workflow=task.workflow,
            for_task=True,
            labels=task.labels,
        ),
    )
    model, because = model_for(ledger, task)
    if victim is not None:
        assert victim.lease is not None
        turn.record(e.TaskPreempted(task=victim.id, lease=victim.lease, beneficiary=task.id))
        close_account(turn, ledger.accounts[victim.id])
    turn.record(
        e.TaskStarted(
            task=task.id,
            attempt=task.attempt,
            lease=f"lease-{ledger.position + 1}",
            expires_at=later(turn.now, lease_time(config)),
            model=model,
            because=because,
            token_budget=token_budget(config, task.agent_type),
            max_tokens=wanted[0],
            aged=command.aged and effective_priority(task) != "critical",
            queued_at=task.queued_at,
            expected_start=task.expected_start,
        )
    )
