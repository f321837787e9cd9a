"""Admission: whether a task may have a slot now, and if not, the first thing that is in its way (spec 3).

The checks are made in the order of the specification. Each looks at numbers that are kept anyway: the answer costs the
same whatever waits and whatever runs. Which of those that may run goes first is decided elsewhere: the allocator
proposes it.
"""

import datetime as dt
from collections.abc import Callable
from typing import NamedTuple

from tallystick.config.amounts import TOKENS, Triple
from tallystick.events.decide.daily_limits import breaker_open, never_today
from tallystick.events.decide.levels import STOP, enforced, stop_of
from tallystick.events.decide.limit_claims import limit_claims, limit_obstacle, never_under_limits
from tallystick.events.decide.pool import available, lacking
from tallystick.events.messages.task_replies import Reason
from tallystick.events.state.accounts import Account
from tallystick.events.state.inheritance import effective_priority
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.task_rules import is_higher, max_tokens, minutes, priority_of
from tallystick.events.state.tasks import Task


def obstacle(ledger: Ledger, task: Task, victim: Task | None = None) -> Reason | None:
    """The first thing that keeps a task from a slot, or None. ``victim``: as if that running task had given its up."""
    if needs_only_a_slot(ledger, task.id, task.agent_type, task.parent):
        return _no_slot(ledger, task, victim)
    for check in _CHECKS:
        reason = check(ledger, task, victim)
        if reason is not None:
            return reason
    return None


def needs_only_a_slot(ledger: Ledger, task: str, agent_type: str, parent: str | None) -> bool:
    """Whether nothing but slots can be in the way of a task, as one look tells; where it does not, the checks do.

    So it is where nothing is paused, stopped or limited and the pool has what is needed: then no check but that of the
    slots finds anything. A task that waits has no account that could be stopped.
    """
    if (
        parent is not None
        or not ledger.rules.starts_are_plain
        or ledger.paused is not None
        or ledger.stopped_above is not None
        or ledger.response
        or ledger.day.tripped is not None
        or task in ledger.stops
    ):
        return False
    needed, root = max_tokens(ledger.rules.config, agent_type), ledger.root
    return needed is None or root.allocated[TOKENS] is None or needed <= root.free[TOKENS]


def impossible(ledger: Ledger, task: Task) -> Reason | None:
    """Why a task can never run under what is configured, or None: a limit of zero, or more tokens than there are."""
    limits = _limits(ledger, task)
    if 0 in limits:
        name = _NAMES[limits.index(0)]
        return Reason(_CODES[name], 0, 0, f"no {_whose(name, task)} may run: the limit is 0")
    if not ledger.rules.starts_are_plain or task.parent is not None:
        reason = never_today(ledger, task) or never_under_limits(ledger, task)
        if reason is not None:
            return reason
    needed = max_tokens(ledger.rules.config, task.agent_type)
    if needed is None or (total := ledger.total[TOKENS]) is None:
        return None
    most = ledger.spendable(TOKENS)
    if needed > most and is_critical(ledger, task):
        most = total
    if needed > most:
        return Reason(
            "total_exceeded", most, needed, f"{needed} tokens are needed, and the fleet may spend {most} in all"
        )
    return None


def may_give_way(ledger: Ledger, task: Task, victim: Task, now: dt.datetime) -> bool:
    """Whether a waiting task may take a running one's slot, and can start with it.

    Safe are runs of the same or a higher priority, runs that were aged when they started, and tasks that lost a slot
    lately.
    """
    config = ledger.rules.config
    level, lower = effective_priority(task), effective_priority(victim)
    if not config.priority_levels.of(level).preempt_lower or not is_higher(level, lower) or victim.aged:
        return False
    above = payer(ledger, task).run
    while above is not None:
        if above == victim.id:
            return False  # it is paid from the very run that it would end
        parent = ledger.accounts[above].parent
        above = None if parent is None else parent.run
    cooldown = minutes(config.preemption_cooldown_minutes)
    if victim.preempted_at is not None and now - victim.preempted_at < cooldown:
        return False
    return obstacle(ledger, task) is not None and obstacle(ledger, task, victim) is None


def is_critical(ledger: Ledger, task: Task) -> bool:
    """Whether a task has the highest priority by itself now: what it may spend does not depend on what it inherits."""
    return priority_of(ledger.rules.config, task.product, task.named_priority) == "critical"


def payer(ledger: Ledger, task: Task) -> Account:
    """The account that a task's run is paid from: its parent's, or the root's."""
    return ledger.root if task.parent is None else ledger.accounts[task.parent]


def needs(ledger: Ledger, task: Task) -> Triple:
    """What a run's account is granted; nothing at all where its type has no token budget: its payers pay as it uses."""
    return (max_tokens(ledger.rules.config, task.agent_type), None, None)


# --- what the allocator asks ----------------------------------------------------------------------------------------


class Claim(NamedTuple):
    """What a task asks of one source besides slots: the pool or an account (by its id), or a daily limit.

    In tokens, or nano-dollars of a daily cost limit. ``free`` is what is there now, ``enough`` whether that is
    so; ``fits`` is whether it could be, once all that is set aside or given out has come back.
    """

    source: str
    needed: int
    free: int
    enough: bool
    fits: bool


def claims(ledger: Ledger, task: Task) -> list[Claim] | None:
    """What a task asks of money and of the day; None where something else is in its way, a full slot apart."""
    if any(check(ledger, task, None) is not None for check in _STANDING):
        return None
    found = [
        Claim(claim.source, claim.needed, claim.free, not claim.is_short, claim.fits)
        for claim in limit_claims(ledger, task)
    ]
    needed, source = needs(ledger, task)[TOKENS], payer(ledger, task).payers[TOKENS]
    critical = is_critical(ledger, task)
    free, most = available(ledger, source, TOKENS, critical), most_free(ledger, source, critical)
    if needed is not None and free is not None and most is not None:
        enough = _no_money(ledger, task, None) is None
        found.append(Claim(ACCOUNT + source.id, needed, free, enough, needed <= most))
    return found


ACCOUNT = "account "
"""Stands before an account's id in `Claim.source`."""


def may_start(ledger: Ledger, task: Task) -> bool:
    """Whether nothing but slots keeps a task from starting now."""
    return hindrance(ledger, task) is None


def hindrance(ledger: Ledger, task: Task) -> Reason | None:
    """The first thing besides slots that keeps a task from starting, or None."""
    if needs_only_a_slot(ledger, task.id, task.agent_type, task.parent):
        return None
    return next((found for check in _CHECKS if check is not _no_slot and (found := check(ledger, task, None))), None)


def most_free(ledger: Ledger, source: Account, critical: bool) -> int | None:
    """How many tokens ``source`` could have free once all that it gave out unspent has come back; None: no limit."""
    if source.allocated[TOKENS] is None:
        return None
    if source is not ledger.root:
        return (source.allocated[TOKENS] or 0) - source.consumed(TOKENS)
    most = ledger.spendable(TOKENS) - (ledger.spent[TOKENS] - ledger.opening[TOKENS])
    return most + ledger.reserve.free[TOKENS] if critical and ledger.in_crisis else most


# --- the checks, in their order --------------------------------------------------------------------------------------


def _nothing_starts(ledger: Ledger, task: Task, victim: Task | None) -> Reason | None:
    if ledger.is_paused:
        return Reason("paused", None, None, f"everything is paused: {ledger.pause_cause}")
    refusal = breaker_open(ledger)
    return None if refusal is None else Reason(refusal.code, None, None, refusal.detail)


def _product_paused(ledger: Ledger, task: Task, victim: Task | None) -> Reason | None:
    if task.product not in ledger.rules.paused_products:
        return None
    return Reason("product_paused", None, None, f"{task.product} is paused")


def _task_stopped(ledger: Ledger, task: Task, victim: Task | None) -> Reason | None:
    reason = stop_of(ledger, task.id)
    return None if reason is None else Reason("agent_stopped", None, None, f"{task.id} was stopped: {reason}")


_NAMES = ("product", "type", "total")
_CODES = {"product": "product_concurrency", "type": "type_concurrency", "total": "total_concurrency"}


def _limits(ledger: Ledger, task: Task) -> tuple[int | None, int | None, int | None]:
    """The limits on how many may run at once that a task is under (`_NAMES`), in the order of the checks."""
    config = ledger.rules.config
    product, most = config.products.get(task.product), config.max_concurrent
    return None if product is None else product.max_concurrent_agents, most.per_type.get(task.agent_type), most.total


def _whose(name: str, task: Task) -> str:
    return {"product": task.product, "type": task.agent_type}.get(name, "task")


def _no_slot(ledger: Ledger, task: Task, victim: Task | None) -> Reason | None:
    tasks = ledger.tasks
    of_product, of_type, total = _limits(ledger, task)
    if of_product is not None:
        running = tasks.by_product[task.product] - (victim is not None and victim.product == task.product)
        if running >= of_product:
            return _full("product", task, of_product, running)
    if of_type is not None:
        running = tasks.by_type[task.agent_type] - (victim is not None and victim.agent_type == task.agent_type)
        if running >= of_type:
            return _full("type", task, of_type, running)
    if total is not None:
        running = len(tasks.running) - (victim is not None)
        if running >= total:
            return _full("total", task, total, running)
    return None


def _full(name: str, task: Task, limit: int, running: int) -> Reason:
    """All slots under a limit are taken."""
    many = "max 1 task" if limit == 1 else f"max {limit} tasks"
    what = many if name == "total" else f"max {_whose(name, task)} ({limit})"
    return Reason(_CODES[name], limit, running, f"{what} already running")


def _stopped(ledger: Ledger, task: Task, victim: Task | None) -> Reason | None:
    """Whether the fleet is at its end, or the payer was stopped."""
    if ledger.response == 4 or (ledger.response == 3 and not is_critical(ledger, task)):
        return Reason("fleet_stopped", None, None, "the fleet's budget is used up")
    account = payer(ledger, task)
    if account is not ledger.root and enforced(ledger, account).action == STOP:
        return Reason("agent_stopped", None, None, f"{account.id} is stopped: nothing starts under it")
    return None


def _no_money(ledger: Ledger, task: Task, victim: Task | None) -> Reason | None:
    """Whether the pool, or the parent, has ``max_tokens`` free.

    What a victim would give back is not counted: it may have to repay what others covered first.
    """
    critical, sources, wanted = is_critical(ledger, task), payer(ledger, task).payers, needs(ledger, task)
    if lacking(ledger, sources, wanted, critical) is None:
        return None
    free, needed = available(ledger, sources[TOKENS], TOKENS, critical), wanted[TOKENS]
    whose = "the pool" if sources[TOKENS] is ledger.root else sources[TOKENS].id
    most = most_free(ledger, sources[TOKENS], critical)
    if needed is not None and most is not None and needed > most:
        when = "after more is granted to it" if sources[TOKENS] is not ledger.root else _MORE_FOR_THE_POOL
        message = f"{needed} tokens are needed, and {whose} has no more than {most} left: it fits only {when}"
        return Reason("cannot_fit", most, needed, message)
    message = f"{needed} tokens are needed, {free} are free in {whose}"
    return Reason("pool_exhausted", free, needed, message)


_MORE_FOR_THE_POOL = "with a larger total, or in the next period"

_STANDING = (_nothing_starts, _product_paused, _task_stopped, _stopped)
"""What keeps a task from starting however much money and however many slots are free."""

_CHECKS: tuple[Callable[[Ledger, Task, Task | None], Reason | None], ...] = (
    _nothing_starts,
    _product_paused,
    _task_stopped,
    limit_obstacle,
    _no_slot,
    _stopped,
    _no_money,
)
