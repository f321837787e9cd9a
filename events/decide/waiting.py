"""What a hold that waits for room waits for: the counters and payers that it takes from, by their keys.

Which holds wait is no part of the state: the manager keeps them, and asks here what is in their way, what else takes
from the same, and what events may have brought back.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from tallystick.config.amounts import DIMENSIONS, InvalidAmount, Triple
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import pricing
from tallystick.events.decide.first_estimate import first_estimate
from tallystick.events.decide.holds import reserve
from tallystick.events.decide.levels import used_up_above
from tallystick.events.decide.limit_readings import has_limits, matches_of
from tallystick.events.decide.retry import PASSES
from tallystick.events.decide.turn import Turn, Waited
from tallystick.events.evolve.table import TASK_EVENTS
from tallystick.events.messages.replies import Refusal, Reply
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger

Key = tuple[str, ...]
"""A counter of a limit, an account that pays, a limit of the day, or an agent that is slowed."""
ENDS: Final = frozenset({e.AgentStopped, e.OverdraftExceeded, e.FleetPaused, e.ConfigLoaded})
"""After these a wait may be over that is not the first of its queue: who waits is stopped."""
_EVERYTHING: Final = frozenset(
    {
        e.ConfigLoaded,
        e.PricesLoaded,
        e.RulesAdopted,
        e.TotalBudgetSet,
        e.PeriodRenewed,
        e.ReserveReleased,
        e.FleetPaused,
        e.FleetResumed,
        e.FleetResponseChanged,
        e.DayBegan,
        e.LimitApproved,
        e.LimitRaised,
        e.LimitWindowsBegan,
        e.AgentStopped,
        e.AgentResumed,
        e.AgentThrottled,
        e.OverdraftExceeded,
        e.OverdraftRepaid,
        e.ClockAccepted,
        e.FleetOpened,
    }
)
"""After these anything may be possible, or over."""
_OF_ACCOUNTS: Final = (
    frozenset(
        {
            e.HoldSettled,
            e.HoldEnded,
            e.HoldSpent,
            e.UsageReported,
            e.UsageCorrected,
            e.BudgetAllocated,
            e.BudgetDrawn,
            e.BudgetReturned,
            e.BudgetMoved,
            e.BudgetReleased,
            e.UnusedReturned,
            e.UnusedRestored,
            e.ReserveDrawn,
            e.Covered,
            e.CoverRepaid,
            e.LevelChanged,
        }
    )
    | TASK_EVENTS
)
"""After these there may be more in the accounts that they name, and in those that pay for them."""
_NAMING: Final = ("agent", "source", "target", "task")


def is_to_wait_for(answer: Reply | Refusal) -> bool:
    """Whether waiting may help: there is no room, or the agent is slowed."""
    return type(answer) is Refusal and answer.code in PASSES


def _account(ledger: Ledger, agent: str) -> Account:
    """The account of an agent; of one that would open with its hold, the account that it would be below."""
    auto = ledger.rules.config.accounts.auto
    parent = "" if auto is None or auto.parent is None else auto.parent
    return ledger.accounts.get(agent) or ledger.accounts.get(parent) or ledger.root


def tried(ledger: Ledger, command: c.Reserve, now: dt.datetime, by: str) -> Reply | Refusal:
    """How a hold would be answered now, but for the time at which there will be room: that costs most of it."""
    try:
        return reserve(Turn(ledger, now, command.id or "", by), replace(command, dry_run=True))
    except InvalidAmount as error:
        return Refusal("invalid_amount", str(error), {"field": error.field})


def in_the_way(ledger: Ledger, command: c.Reserve, refusal: Refusal) -> Key:
    """The counter or payer that has refused a hold."""
    account, numbers = _account(ledger, command.agent), refusal.numbers
    if refusal.code == "limit_reached":
        return ("limit", numbers["limit"], numbers["value"])
    if refusal.code == "daily_limit_reached":
        return ("day", numbers["decided_by"])
    if refusal.code == "throttled":
        return ("agent", account.id)
    match numbers.get("decided_by"):
        case "fleet_response":
            return ("payer", ledger.root.id)
        case "ancestor_stop":
            above = used_up_above(ledger, account)
            return ("payer", account.id if above is None else above.id)
        case None:
            return ("payer", _without_room(account, _wanted(ledger, command)).id)
    return ("payer", account.id)


def taken_from(ledger: Ledger, command: c.Reserve) -> list[Key]:
    """All that a hold which would be granted takes from."""
    account, wanted = _account(ledger, command.agent), _wanted(ledger, command)
    keys: dict[Key, None] = {("payer", account.payers[d].id): None for d in DIMENSIONS if wanted[d]}
    keys["day", "limit:daily"] = None
    if account.budget_product is not None:
        keys["day", f"limit:product-daily:{account.budget_product}"] = None
    if has_limits(ledger, account):
        found = matches_of(ledger, account, ledger.now, command.model, command.labels, hold=True)
        keys |= {("limit", match.rule.name, match.value): None for match in found if match.rule.then != "warn"}
    return list(keys)


def brought_back(ledger: Ledger, events: Iterable[e.Event]) -> set[Key] | None:
    """Where there may be room after these events; None: anywhere. Limits say it themselves (`Limits.freed`)."""
    keys: set[Key] = set()
    for event in events:
        kind = type(event)
        if kind in _EVERYTHING:
            return None
        if kind in _OF_ACCOUNTS:
            for field in _NAMING:
                name = getattr(event, field, None)
                if name is not None:
                    _add_keys(keys, ledger, name)
    return keys


def waited_of(event: e.Event) -> Waited | None:
    """How long a hold had waited when this was recorded of it; None where it had not waited."""
    if isinstance(event, e.HoldPlaced):
        return None if event.waited_since is None else Waited(event.waited_since)
    if isinstance(event, e.RequestRefused) and "waited_since" in event.numbers:
        since = dt.datetime.fromisoformat(event.numbers["waited_since"])
        return Waited(since, event.numbers["waits_for"] if event.code == "wait_over" else None)
    return None


def in_words(key: Key) -> str:
    """What is waited for, as a refusal says it."""
    kind, name = key[0], key[1]
    if kind == "limit":
        return f"limit {name} of {key[2]}"
    return {"payer": f"the balance of {name}", "day": name, "agent": f"the pace of {name}"}[kind]


def _wanted(ledger: Ledger, command: c.Reserve) -> Triple:
    estimated = first_estimate(ledger, command)
    assert not isinstance(estimated, Refusal), "what has no estimate is refused, and does not wait"
    return pricing.price(ledger.rules, estimated[0]).triple


def _without_room(account: Account, wanted: Triple) -> Account:
    """The account that pays and has not enough free; the account itself where something is kept of its own."""
    for d, payer in enumerate(account.payers):
        units = wanted[d]
        if units and payer.allocated[d] is not None and units > payer.free[d]:
            return payer
    return account


def _add_keys(keys: set[Key], ledger: Ledger, name: str) -> None:
    account: Any = ledger.accounts.get(name)
    if account is None:
        closed = ledger.released.get(name)
        account = None if closed is None else ledger.accounts.get(closed.parent)
    for one in (account or ledger.root, None if account is None else account.parent):
        if one is not None:
            keys.add(("agent", one.id))
            keys.update(("payer", payer.id) for payer in (one, *one.payers))
    keys.add(("day", "limit:daily"))
    if account is not None and account.budget_product is not None:
        keys.add(("day", f"limit:product-daily:{account.budget_product}"))
