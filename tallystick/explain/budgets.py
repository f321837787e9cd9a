"""Explains what happens to the budgets of accounts: granted, moved, covered and given back."""

from tallystick.config.amounts import seconds
from tallystick.events import catalog as e
from tallystick.events.state.accounts import POOL
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import limited
from tallystick.explain.history import History
from tallystick.explain.row import Row, Rows, Style, left_at_source, the
from tallystick.wording import amounts, counted, exact_percent, number, text_of_limit

_COVER_CAUSES = {
    "under_estimate": "more was used than had been allocated or held",
    "late_report": "usage was reported after the account was closed or the hold had ended",
    "unpriced_model": "a model without a price was charged at the highest known price",
    "override": "an operator ordered it",
    "delegated_overrun": "a child fleet has used more than it was granted",
    "overdraft_max": "the fleet is charged in the place of an account that is beyond its overdraft_max",
}


def _says_allocated(event: e.BudgetAllocated, say: Style) -> str:
    labels = (event.agent_type, event.product, event.workflow)
    named = "".join(
        f", {what} {label}" for what, label in zip(("type", "product", "workflow"), labels, strict=True) if label
    )
    demand = ", on its own demand" if event.on_demand else ""
    lease = f", with a lease of {number(seconds(event.lease_ms))} s" if event.lease_ms else ""
    granted = f"{say.amounts(event.amount)} from {the(event.parent or POOL)}{demand}{lease}"
    opened = "opened by itself" if event.auto else "was opened"
    if not any(event.amount.triple) and event.limits:
        granted = f"no carve-out below {the(event.parent or POOL)}{lease}"
    limits = "".join(f"; {text_of_limit(one)} ({event.agent}/{n})" for n, one in enumerate(event.limits, start=1))
    bound = "" if event.overdraft_max is None else f"; others may cover {say.amounts(event.overdraft_max)} for it"
    opened += " for another fleet" if event.delegated else ""
    return f"{event.agent} {opened} with {granted} (priority {event.priority}{named}){bound}{limits}"


def _of_child(number: int) -> str:
    return f" (number {number:,} of its fleet)" if number else ""


def _why_allocated(event: e.BudgetAllocated, ledger: Ledger, history: History) -> list[str]:
    account, lines = ledger.accounts[event.agent], []
    if event.auto:
        lines.append(f"it had no account when it first reported or held (accounts.auto{history.since(e.ConfigLoaded)})")
    if account.carves_nothing:
        return [*lines, "it was granted nothing of its own: what it uses, the accounts above it pay, within its limits"]
    return [*lines, left_at_source(account, event.amount.triple)]


def _why_drawn(event: e.BudgetDrawn, ledger: Ledger, history: History) -> list[str]:
    account, amount = ledger.accounts[event.agent], event.amount.triple
    share = exact_percent(float(ledger.rules.pool_share_max))
    return [
        f"its allocation is now {amounts(account.allocated)}",
        left_at_source(account, amount),
        (
            f"on demand it has drawn {amounts(limited(amount, account.drawn))} in all; at most {share} of what"
            f" the fleet can spend (max_pool_share_percent{history.since(e.ConfigLoaded)})"
        ),
    ]


def _why_returned(event: e.BudgetReturned, ledger: Ledger, history: History) -> list[str]:
    allocated = ledger.accounts[event.agent].allocated
    return [f"its allocation is now {amounts(allocated)}; the pool has {amounts(ledger.pool)}"]


def _why_moved(event: e.BudgetMoved, ledger: Ledger, history: History) -> list[str]:
    settings, in_force = ledger.rules.config.reallocation, history.since(e.ConfigLoaded)
    if event.strategy == "idle":
        below, part = exact_percent(float(settings.idle_below)), exact_percent(float(settings.reclaim_fraction))
        return [
            (
                f"an agent is idle if it used nothing for {settings.idle_seconds} s and less than {below} of its"
                f" budget: {part} of what remains goes back (reallocation{in_force})"
            )
        ]
    above = exact_percent(float(settings.demand_above))
    lines = [
        (
            f"an agent that has used more than {above} and will need more than it has is given what it lacks,"
            f" critical agents first (reallocation{in_force})"
        )
    ]
    account = ledger.accounts.get(event.target)
    return lines if account is None else [*lines, left_at_source(account, event.amount.triple)]


def _says_covered(event: e.Covered, say: Style) -> str:
    cause = _COVER_CAUSES.get(event.cause, event.cause)
    return f"{the(event.source)} covered {say.amounts(event.amount)} for {the(event.target)}: {cause}"


def _why_covered(event: e.Covered, ledger: Ledger, history: History) -> list[str]:
    lines = [
        "usage is a fact: what an account lacks is covered by its parent, on up the tree, then the reserve, then debt"
    ]
    account = ledger.accounts.get(event.target)
    if account is not None:
        lines.append(f"{event.target} was allocated {amounts(account.allocated)}")
    if any(ledger.overdraft):
        lines.append(f"the fleet's debt is now {amounts(ledger.overdraft)}")
    return lines


def _allocation_of_target(event: e.Covered, ledger: Ledger, history: History) -> list[int | None]:
    return [] if event.target == POOL else [history.newest(e.BudgetAllocated, event.target)]


def _says_released(event: e.BudgetReleased, say: Style) -> str:
    of_it = f"{say.amounts(event.consumed)} of {say.amounts(event.allocated)} used"
    return f"{event.agent} was released: {of_it}, {say.amounts(event.unused)} given back"


ROWS: Rows = {
    e.BudgetAllocated: Row(_says_allocated, _why_allocated),
    e.AgentLeaseEnded: Row(
        lambda x, say: (
            f"the lease of {x.agent} ended: no message came by it, or from below it, since {say.time(x.heard_at)}"
        ),
        lambda x, ledger, history: [f"it lasts {number(seconds(x.lease_ms))} s from the last message on"],
        after=(e.BudgetAllocated,),
    ),
    e.BudgetDrawn: Row(
        lambda x, say: f"{x.agent} {'borrowed' if x.borrowed else 'drew'} {say.amounts(x.amount)}{_of_child(x.number)}",
        _why_drawn,
        after=(e.BudgetAllocated,),
    ),
    e.BudgetReturned: Row(
        lambda x, say: f"{x.agent} gave {say.amounts(x.amount)} back{_of_child(x.number)}",
        _why_returned,
        after=(e.BudgetAllocated,),
    ),
    e.BudgetMoved: Row(
        lambda x, say: (
            f"{say.amounts(x.amount)} moved from {the(x.source)} to {the(x.target)} ({x.strategy}): {x.reason}"
        ),
        _why_moved,
    ),
    e.Rebalanced: Row(lambda x, say: f"a plan of {counted(x.moves, 'move')} was applied"),
    e.UnusedReturned: Row(
        lambda x, say: f"{x.agent} is stopped and gave back what it had free elsewhere: {say.amounts(x.amount)}",
        "an agent that has used up one dimension is stopped: what it has free in the others is of use to its parent",
        after=(e.LevelChanged,),
    ),
    e.UnusedRestored: Row(
        lambda x, say: f"{x.agent} may go on and got back what its stop had given back: {say.amounts(x.amount)}",
        "a top-up that ends black brings back what black gave back, as far as the parent has it free",
        after=(e.UnusedReturned,),
    ),
    e.ReserveDrawn: Row(lambda x, say: f"the emergency reserve gave {say.amounts(x.amount)} for {x.agent}"),
    e.Covered: Row(_says_covered, _why_covered, also=_allocation_of_target),
    e.CoverRepaid: Row(
        lambda x, say: f"{the(x.source)} repaid {say.amounts(x.amount)} to {the(x.target)}",
        "what comes in first repays what others covered; at the root it repays debt, then fills the reserve, then the"
        " pool",
    ),
    e.OverdraftExceeded: Row(
        lambda x, say: (
            f"{x.agent} was stopped: others cover {say.amounts(x.covered)} for it,"
            f" at most {say.amounts(x.overdraft_max)} is allowed (overdraft_max)"
        ),
        "it goes on when it is granted more, or when what it holds comes back: that repays what others cover; until"
        " then the fleet is charged for its reports",
        after=(e.BudgetAllocated,),
    ),
    e.OverdraftRepaid: Row(
        lambda x, say: f"{x.agent} may go on: what others cover for it is within its overdraft_max again",
        after=(e.OverdraftExceeded,),
    ),
    e.BudgetReleased: Row(_says_released, after=(e.BudgetAllocated,)),
}
