"""Who may do what over the HTTP service: one table of roles and messages, and one of what else is read there.

It is asked in the manager's turn, on the true state: whose account an id is may have changed since the message came.
An operator of the program itself, and of its control socket, is not asked.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, get_args

import msgspec

from tallystick.config.amounts import InvalidAmount, dollars, exact_units
from tallystick.config.kinds import Priority
from tallystick.events import messages as c
from tallystick.events.catalog.access import Role
from tallystick.events.decide.caller_labels import foreign_label
from tallystick.events.decide.loosening import loosens
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.accounts import RESERVED_NAMES, ROOT, Account
from tallystick.events.state.ledger import Ledger

ROLES: Final[tuple[Role, ...]] = get_args(Role)
_COST: Final = 2
_BY_HAND: Final = (c.Resume, c.ResumeAll, c.OverridePriority, c.Throttle)
"""What loosens nothing that is counted in money: a ceiling does not bound it."""


class Caller(NamedTuple):
    """Who sends a message over the HTTP service.

    ``agent`` is in whose name; ``key`` is the name of the key, None where there is none in the log;
    ``approve_up_to_nanos`` is an operator's ceiling.
    """

    role: Role
    agent: str | None = None
    key: str | None = None
    approve_up_to_nanos: int | None = None


Own = Callable[[Ledger, str, Any], str | None]
"""Why an agent may not send a message, in words; None where it may."""


Auto = Callable[[Ledger, Any], str | None]
"""Why a key for telemetry may not send a message, in words; None where it may."""


class Who(NamedTuple):
    """Who may send a message: these roles any of them; an agent where ``own`` says nothing against it, and a key for
    telemetry where ``auto`` does not.
    """

    roles: frozenset[Role]
    own: Own | None = None
    auto: Auto | None = None


# --- what is an agent's own -------------------------------------------------------------------------------------------


def acts_for(ledger: Ledger, agent: str, id: str) -> bool:
    """Whether an id is the agent's own, or of an account or task below it."""
    if id == agent:
        return True
    account = ledger.accounts.get(id)
    if account is not None:
        return _is_below(account, agent)
    task = ledger.tasks.known.get(id)
    if task is not None:
        if task.parent is None:
            return False
        parent = ledger.same_account(task.parent, task.parent_life)
        return task.parent == agent or (parent is not None and _is_below(parent, agent))
    closed = ledger.released.get(id)
    while closed is not None:
        if closed.parent == agent:
            return True
        parent = ledger.same_account(closed.parent, closed.parent_life)
        if parent is not None:
            return _is_below(parent, agent)
        closed = ledger.lives.get(closed.parent_life)
    return False


def _is_below(account: Account, agent: str) -> bool:
    at: Account | None = account
    while at is not None and at.id != ROOT:
        if at.id == agent:
            return True
        at = at.parent
    return False


def _foreign(agent: str, id: str) -> str:
    return f"{id} is neither {agent} nor below it"


def _at(ledger: Ledger, agent: str, id: str | None, field: str = "agent") -> str | None:
    if id is None:
        return f"{field}: an agent names one, itself or one below it"
    return None if acts_for(ledger, agent, id) else _foreign(agent, id)


def _at_agent(ledger: Ledger, agent: str, command: Any) -> str | None:
    return _at(ledger, agent, command.agent)


def _at_open_agent(ledger: Ledger, agent: str, command: Any) -> str | None:
    """It may add to an account, and not open one: the account would not be below any other."""
    wrong = _at(ledger, agent, command.agent)
    if wrong is None and command.agent not in ledger.accounts:
        return f"{command.agent} has no open account, and an agent opens none without a parent"
    return wrong


def _releases(ledger: Ledger, agent: str, command: c.ReleaseBudget) -> str | None:
    """An account that has opened by itself opens again at the next report, and what its limits have counted is gone."""
    wrong = _at_agent(ledger, agent, command)
    account = ledger.accounts.get(command.agent)
    if wrong is None and account is not None and account.terms.auto and account.terms.limits:
        return f"{command.agent} has opened by itself with limits, which would count anew: it is released when idle"
    return wrong


def _at_task(ledger: Ledger, agent: str, command: Any) -> str | None:
    return _at(ledger, agent, command.task, "task")


def _at_hold(ledger: Ledger, agent: str, command: Any) -> str | None:
    hold = command.hold
    holder = ledger.holds.get(hold) or ledger.ended_holds.get(hold)
    # What is not known is answered so.
    return None if holder is None or acts_for(ledger, agent, holder.agent) else f"the hold {hold} is another agent's"


def _at_one(ledger: Ledger, agent: str, command: Any) -> str | None:
    """A message that names an agent, a task or a hold."""
    hold, task = getattr(command, "hold", None), getattr(command, "task", None)
    if hold is not None:
        return _at_hold(ledger, agent, command)
    ids = [id for id in (command.agent, task) if id is not None]
    wrong = [_at(ledger, agent, id) for id in ids] or [_at(ledger, agent, None)]
    return next((one for one in wrong if one is not None), None)


def _below(ledger: Ledger, agent: str, command: Any) -> str | None:
    if command.agent == agent:
        return f"an agent orders those below it, and not itself ({agent})"
    return _at(ledger, agent, command.agent)


def _slows(ledger: Ledger, agent: str, command: c.Throttle) -> str | None:
    return _below(ledger, agent, command) or loosens(ledger, command)


def _opens(ledger: Ledger, agent: str, command: c.AllocateBudget) -> str | None:
    wrong = _at(ledger, agent, command.parent, "parent") or _priority(ledger, agent, command.priority)
    return wrong or foreign_label(ledger, command.parent, command)


def _submits(ledger: Ledger, agent: str, command: c.SubmitTask) -> str | None:
    wrong = _at(ledger, agent, command.parent, "parent")
    if wrong is None and command.priority is not None:
        wrong = _priority(ledger, agent, command.priority)
    return wrong or foreign_label(ledger, command.parent, command)


def _holds(ledger: Ledger, agent: str, command: c.Reserve) -> str | None:
    return _at(ledger, agent, command.agent) or foreign_label(ledger, command.agent, command)


def _priority(ledger: Ledger, agent: str, wanted: Priority) -> str | None:
    """Nothing below an agent is of a higher priority than the agent; unless its account is open, nothing is below."""
    account = ledger.accounts.get(agent)
    if account is None or c.PRIORITIES.index(wanted) >= c.PRIORITIES.index(account.priority):
        return None
    return f"priority: found {wanted}, and {agent} is of priority {account.priority}"


# --- what telemetry reports for ---------------------------------------------------------------------------------------


def _reports_itself(ledger: Ledger, command: c.ReportUsage) -> str | None:
    """It reports for accounts that open by themselves, and for no task and no other account, open or released."""
    if command.agent is None or command.child is not None or command.lease is not None or command.task is not None:
        return "agent: a key for telemetry names one, and no task, lease or child"
    return opened_by_message(ledger, command.agent)


def opened_by_message(ledger: Ledger, id: str) -> str | None:
    """Why usage of an id is not for telemetry to report, in words; None where its account opens by itself."""
    if ledger.rules.config.accounts.auto is None:
        return "a key for telemetry reports for accounts that open by themselves, and accounts.auto is null"
    if id in RESERVED_NAMES:
        return f"{id} is a name of the fleet itself, under which no account opens"
    account, closed = ledger.accounts.get(id), ledger.released.get(id)
    was_asked = (account is not None and not account.terms.auto) or (closed is not None and not closed.auto)
    if was_asked or ledger.tasks.get(id) is not None:
        return f"{id} was opened by a message; a key for telemetry reports for accounts that open by themselves"
    return None


# --- the tables -------------------------------------------------------------------------------------------------------

_OPERATOR: Final[frozenset[Role]] = frozenset({"operator"})
_RUNS: Final[frozenset[Role]] = frozenset({"operator", "orchestrator"})
_READS: Final[frozenset[Role]] = frozenset({"operator", "orchestrator", "analyst", "auditor"})
_PROVES: Final[frozenset[Role]] = frozenset({"operator", "auditor"})
_ALL: Final[frozenset[Role]] = frozenset(ROLES) - {"telemetry"}

MESSAGES: Final[Mapping[type[c.Command], Who]] = {
    c.AllocateBudget: Who(_RUNS, _opens),
    c.AllocateEqual: Who(_RUNS),
    c.AllocateProportional: Who(_RUNS),
    c.AllocateByPriority: Who(_RUNS),
    c.AllocateFromPool: Who(_RUNS, _at_open_agent),
    c.ReportUsage: Who(_RUNS, _at_one, _reports_itself),
    c.Reserve: Who(_RUNS, _holds),
    c.Settle: Who(_RUNS, _at_hold),
    c.CancelHold: Who(_RUNS, _at_hold),
    c.Heartbeat: Who(_RUNS, _at_one),
    c.GetHolds: Who(_READS, _at_one),
    c.GetLimits: Who(_READS, _at_agent),
    c.GetStatus: Who(_READS, _at_agent),
    c.GetGlobalStatus: Who(_READS),
    c.CheckEnforcement: Who(_READS, _at_agent),
    c.Throttle: Who(_RUNS, _slows),
    c.Stop: Who(_RUNS, _below),
    c.Resume: Who(_RUNS),
    c.Rebalance: Who(_RUNS),
    c.BorrowFromPool: Who(_RUNS, _at_open_agent),
    c.ReturnToPool: Who(_RUNS, _at_agent),
    c.GenerateReport: Who(_READS),
    c.Forecast: Who(_READS, _at_agent),
    c.GetEfficiency: Who(_READS, _at_agent),
    c.ReleaseBudget: Who(_RUNS, _releases),
    c.SubmitTask: Who(_RUNS, _submits),
    c.GetTask: Who(_READS, _at_task),
    c.CompleteTask: Who(_RUNS, _at_task),
    c.CancelTask: Who(_RUNS, _at_task),
    c.RetryTask: Who(_RUNS, _at_task),
    c.GetQueue: Who(_READS),
    c.SetTotalBudget: Who(_OPERATOR),
    c.PauseAll: Who(_OPERATOR),
    c.ResumeAll: Who(_OPERATOR),
    c.OverridePriority: Who(_OPERATOR),
    c.ApproveLimit: Who(_OPERATOR),
    c.ResetBreaker: Who(_OPERATOR),
    c.ReleaseReserve: Who(_OPERATOR),
    c.AcceptClock: Who(_OPERATOR),
    c.CorrectUsage: Who(_OPERATOR),
    c.RecordReconciliation: Who(_OPERATOR),
    c.LoadConfig: Who(_OPERATOR),
    c.CreateKey: Who(_OPERATOR),
    c.RevokeKey: Who(_OPERATOR),
    c.ListKeys: Who(_PROVES),
}
"""Who may send which message."""

PATHS: Final[Mapping[str, frozenset[Role]]] = {
    "/metrics": _READS,
    "/v1/events": _READS,
    "/v1/stream": _READS,
    "/v1/session": _ALL,
}
"""Who may read what under which path; under any other that is not open to all, those who may read."""
OTHER_PATHS: Final = _READS


# --- the answer -------------------------------------------------------------------------------------------------------


def refusal_of(ledger: Ledger, command: c.Command, caller: Caller) -> p.RefuseAccess | None:
    """What is to be decided in place of a caller's message; None where it may be decided itself."""
    why = _forbids(ledger, command, caller)
    return None if why is None else access_refused(ledger, command, caller, why)


def access_refused(ledger: Ledger, command: c.Command, caller: Caller, why: str) -> p.RefuseAccess:
    """What is to be decided in place of a message that its caller may not send."""
    agent = getattr(command, "agent", None)
    request, id = type(command).__name__, c.internal_id(f"denied-{ledger.position}")
    return p.RefuseAccess(request=request, why=why, role=caller.role, agent=agent, id=id)


def refuse_access(turn: Turn, command: p.RefuseAccess) -> Refusal:
    """Refuse; the id of the message stays free."""
    return denied(command)


def denied(command: p.RefuseAccess) -> Refusal:
    """The refusal of what a caller may not send."""
    numbers = {"role": command.role} | ({} if command.agent is None else {"agent": command.agent})
    return Refusal("access_denied", command.why, numbers)


def _forbids(ledger: Ledger, command: c.Command, caller: Caller) -> str | None:
    key = None if caller.key is None else ledger.keys.by_name.get(caller.key)
    if key is not None and key.revoked_at is not None:
        return "the key was revoked"
    if isinstance(command, c.ReleaseBudget) and command.force and caller.role != "operator":
        return f"force: the role {caller.role} may not; operator may"
    who = MESSAGES[type(command)]
    if caller.role in who.roles:
        ceiling = caller.approve_up_to_nanos
        return None if ceiling is None else _above(ledger, command, ceiling)
    if caller.role == "telemetry" and isinstance(command, c.ReportUsage) and who.auto is not None:
        return who.auto(ledger, command)
    if caller.role != "agent" or who.own is None:
        return f"the role {caller.role} may not; {', '.join(sorted(who.roles))} may"
    assert caller.agent is not None, "a caller of this role has an agent"
    return who.own(ledger, caller.agent, command)


def _ends_higher(ledger: Ledger, command: c.RevokeKey, ceiling: int) -> str | None:
    """An operator with a ceiling ends no key of one who may approve more."""
    key = ledger.keys.by_name.get(command.key)
    if key is None or key.role != "operator" or key.revoked_at is not None:
        return None
    theirs = key.approve_up_to_nanos
    if theirs is not None and theirs <= ceiling:
        return None
    most = "without a ceiling" if theirs is None else f"up to {dollars(theirs)} USD"
    return f"this key approves up to {dollars(ceiling)} USD, and {key.name} {most}: that takes a key that approves more"


def _above(ledger: Ledger, command: c.Command, ceiling: int) -> str | None:
    """Why a message goes beyond what its sender may approve, in words."""
    if isinstance(command, c.RevokeKey):
        return _ends_higher(ledger, command, ceiling)
    if isinstance(command, _BY_HAND) or loosens(ledger, command) is None:
        return None
    most = f"this key approves up to {dollars(ceiling)} USD"
    match command:
        case c.CreateKey():
            if command.role != "operator":
                return None
            cost: Any = command.approve_up_to_usd
        case c.ApproveLimit():
            raised = {} if command.max is None else msgspec.structs.asdict(command.max)
            others = [raised.pop(name) for name in list(raised) if name != "cost_usd"]
            others.append(msgspec.UNSET if command.max_tokens_total is None else command.max_tokens_total)
            if any(one is not msgspec.UNSET and one is not None for one in others):
                return f"{most}, and nothing that is not a cost"
            costs = [one for one in (command.max_cost_usd, raised.get("cost_usd")) if one not in (None, msgspec.UNSET)]
            cost = max(costs)
        case c.SetTotalBudget():
            change = command.budget
            if (change.tokens, change.time_seconds) != (msgspec.UNSET, msgspec.UNSET):
                return f"{most}, and nothing that is not a cost"
            cost = change.cost_usd
        case _:
            return f"{most}, and this {loosens(ledger, command)}: that takes a key without a ceiling"
    try:
        fits = cost is not None and exact_units(cost, _COST, "cost_usd") <= ceiling
    except InvalidAmount:
        return None  # it is refused for what it is
    return None if fits else f"{most}, and this is {'without end' if cost is None else f'{cost} USD'}"
