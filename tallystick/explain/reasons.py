"""Why it was decided so: the rule with the numbers that it was given."""

from collections.abc import Callable
from typing import Any

from tallystick.config.amounts import EDGE_NAMES, Triple, dollars
from tallystick.events import catalog as e
from tallystick.events.state.accounts import ROOT, Account, limited
from tallystick.events.state.ledger import Ledger
from tallystick.explain.causes import History, since
from tallystick.explain.sentences import amounts, percent, unit
from tallystick.explain.task_reasons import RULES

THRESHOLDS = ("warn_at", "throttle_at", "degrade_at", "stop_at")
_FLEET_SETTINGS = {
    "throttle": "enforcement.fleet.throttle_at",
    "degrade": "enforcement.fleet.degrade_at",
    "stop": "enforcement.fleet.stop_at",
    "stop_all": "",
}


def why(event: e.Event, ledger: Ledger, history: History) -> list[str]:
    """The rule and its numbers; ``ledger`` is the state just after the event."""
    explain = _RULES.get(type(event))
    return [] if explain is None else explain(event, ledger, history)


def _level(event: e.LevelChanged, ledger: Ledger, history: History) -> list[str]:
    account = ledger.accounts[event.agent]
    d = EDGE_NAMES.index(event.dimension)
    consumed, base = _only(d, account.consumed(d)), _only(d, account.base(d))
    lines = [f"{amounts(consumed)} used of {amounts(base)}: {percent(event.percentage)} of its {unit(event.dimension)}"]
    if account.delegated[d]:
        lines.append(
            f"its allocation is {amounts(_only(d, account.allocated[d]))}, of which its sub-agents were granted "
            f"{amounts(_only(d, account.delegated[d]))}"
        )
    in_force = since(history, e.ConfigLoaded)
    rank = e.LEVELS.index(event.level)
    if rank:
        at = float(ledger.rules.level_at[rank - 1])
        lines.append(f"{event.level} begins at {percent(at)} (enforcement.{THRESHOLDS[rank - 1]}{in_force})")
    if rank < len(THRESHOLDS):
        at = float(ledger.rules.level_at[rank])
        lines.append(f"{e.LEVELS[rank + 1]} would begin at {percent(at)} (enforcement.{THRESHOLDS[rank]}{in_force})")
    return lines


def _response(event: e.FleetResponseChanged, ledger: Ledger, history: History) -> list[str]:
    d = EDGE_NAMES.index(event.dimension)
    spent = ledger.spent[d] - ledger.opening[d]
    lines = [
        (
            f"{amounts(_only(d, spent))} spent and {amounts(_only(d, ledger.held[d]))} held in this period, against "
            f"{amounts(_only(d, ledger.spendable(d)))} that the fleet can spend (the total less the configured reserve)"
        )
    ]
    slack = percent(float(ledger.rules.fleet_hysteresis))
    in_force = since(history, e.ConfigLoaded)
    for name, setting in _FLEET_SETTINGS.items():
        if name in (event.before, event.response):
            at = "100 % of the total"
            if setting:
                at = f"{percent(float(ledger.rules.fleet_at[e.RESPONSES.index(name) - 1]))} ({setting}{in_force})"
            lines.append(f"{name} begins at {at} and ends {slack} below it")
    return lines


def _covered(event: e.Covered, ledger: Ledger, history: History) -> list[str]:
    lines = [
        "usage is a fact: what an account lacks is covered by its parent, on up the tree, then the reserve, then debt"
    ]
    account = ledger.accounts.get(event.target)
    if account is not None:
        lines.append(f"{event.target} was allocated {amounts(account.allocated)}")
    if any(ledger.overdraft):
        lines.append(f"the fleet's debt is now {amounts(ledger.overdraft)}")
    return lines


def _opened(event: e.BudgetAllocated, ledger: Ledger, history: History) -> list[str]:
    account = ledger.accounts[event.agent]
    return [_left(account, event.amount.triple, ledger)]


def _drawn(event: "e.BudgetDrawn", ledger: Ledger, history: History) -> list[str]:
    account = ledger.accounts[event.agent]
    share = percent(float(ledger.rules.pool_share_max))
    return [
        f"its allocation is now {amounts(account.allocated)}",
        _left(account, event.amount.triple, ledger),
        (
            f"on demand it has drawn {amounts(limited(event.amount.triple, account.drawn))} in all; at most {share} of what"
            f" the fleet can spend (max_pool_share_percent{since(history, e.ConfigLoaded)})"
        ),
    ]


def _left(account: Account, amount: Triple, ledger: Ledger) -> str:
    """What the sources of a grant have left."""
    free: list[int | None] = [None, None, None]
    names = []
    for d, units in enumerate(amount):
        if units is None:
            continue
        source = account.source(d)
        names.append("the pool" if source.id == ROOT else source.id)
        free[d] = None if source.allocated[d] is None else source.free[d]
    named = " and ".join(dict.fromkeys(names))
    if free == [None, None, None]:
        return "the fleet's total does not limit this"
    return f"{named} had it free; {amounts((free[0], free[1], free[2]))} is left there"


def _returned(event: e.BudgetReturned, ledger: Ledger, history: History) -> list[str]:
    account = ledger.accounts[event.agent]
    return [f"its allocation is now {amounts(account.allocated)}; the pool has {amounts(ledger.pool)}"]


def _held(event: e.HoldPlaced, ledger: Ledger, history: History) -> list[str]:
    account = ledger.accounts[event.agent]
    lines = []
    for d, units in enumerate(event.amount.triple):
        payer = account.payers[d]
        if units and payer.allocated[d] is not None:
            whose = "" if payer is account else f" in {'the pool' if payer.id == ROOT else payer.id}"
            asked, there = amounts(_only(d, units)), amounts(_only(d, payer.free[d] + units))
            lines.append(f"{asked} was asked for, {there} was free{whose}")
    return lines


def _refused(event: e.RequestRefused, ledger: Ledger, history: History) -> list[str]:
    lines = [f"{name}: {_plain(value)}" for name, value in event.numbers.items() if value is not None]
    account = ledger.accounts.get(event.agent or "")
    if account is not None:
        lines.append(
            f"{account.id} was {e.LEVELS[account.level]}, with {amounts(account.remaining_all())} remaining of "
            f"{amounts(account.allocated)}"
        )
    return lines


def _plain(value: Any) -> str:
    """A number of a refusal: amounts as people write them, anything else as it is."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {number}" for name, number in value.items()) or "nothing"
    return str(value)


def _black(event: e.UnusedReturned, ledger: Ledger, history: History) -> list[str]:
    return [
        "an agent that has used up one dimension is stopped: what it has free in the others is of use to its parent"
    ]


def _restored(event: e.UnusedRestored, ledger: Ledger, history: History) -> list[str]:
    return ["a top-up that ends black brings back what black gave back, as far as the parent has it free"]


def _repaid(event: e.CoverRepaid, ledger: Ledger, history: History) -> list[str]:
    return [
        "what comes in repays first what others covered; at the root it repays debt, then fills the reserve, then the pool"
    ]


def _moved(event: e.BudgetMoved, ledger: Ledger, history: History) -> list[str]:
    settings = ledger.rules.config.reallocation
    in_force = since(history, e.ConfigLoaded)
    if event.strategy == "idle":
        return [
            (
                f"idle is who used nothing for {settings.idle_seconds} s and less than {percent(float(settings.idle_below))}"
                f" of its budget: {percent(float(settings.reclaim_fraction))} of what remains goes back (reallocation{in_force})"
            )
        ]
    lines = [
        (
            f"who has used more than {percent(float(settings.demand_above))} and will need more than it has is given what it"
            f" lacks, critical agents first (reallocation{in_force})"
        )
    ]
    account = ledger.accounts.get(event.target)
    return lines if account is None else [*lines, _left(account, event.amount.triple, ledger)]


def _warned(event: e.ExhaustionWarned, ledger: Ledger, history: History) -> list[str]:
    seconds = ledger.rules.config.enforcement.warn_before_exhaustion_seconds
    setting = f"enforcement.warn_before_exhaustion_seconds{since(history, e.ConfigLoaded)}"
    return [f"agents are warned once when less than {seconds} s are left ({setting})"]


def _usage(event: e.UsageReported, ledger: Ledger, history: History) -> list[str]:
    lines = []
    if event.priced_as is not None:
        found = ledger.rules.prices.find(event.priced_as, _provider(event, ledger))
        if found is not None:
            parts = (event.input_tokens, event.output_tokens, event.cached_tokens)
            price = found.price.at(event.tokens if parts == (None, None, None) else event.input_tokens or 0)
            source = "prices.yml" if found.written else ledger.rules.prices.published.source
            lines.append(
                f"priced as {event.priced_as}: ${dollars(price.input)} per million input tokens,"
                f" ${dollars(price.output)} output ({source}{since(history, e.PricesLoaded)})"
            )
    account = ledger.accounts.get(event.agent)
    if account is not None:
        lines.append(f"{amounts(account.remaining_all())} of {amounts(account.allocated)} remains")
    return lines


def _provider(event: e.UsageReported, ledger: Ledger) -> str | None:
    """The provider that the catalogue names for the model of a report."""
    model = ledger.rules.config.models.get(event.model or "")
    return None if model is None else model.provider


def _only(dimension: int, units: int | None) -> Triple:
    """``units`` of one dimension."""
    return (units if dimension == 0 else None, units if dimension == 1 else None, units if dimension == 2 else None)


_RULES: dict[type[e.Event], Callable[[Any, Ledger, History], list[str]]] = {
    e.LevelChanged: _level,
    e.FleetResponseChanged: _response,
    e.Covered: _covered,
    e.BudgetAllocated: _opened,
    e.BudgetDrawn: _drawn,
    e.BudgetReturned: _returned,
    e.HoldPlaced: _held,
    e.RequestRefused: _refused,
    e.BudgetMoved: _moved,
    e.CoverRepaid: _repaid,
    e.UnusedReturned: _black,
    e.UnusedRestored: _restored,
    e.ExhaustionWarned: _warned,
    e.UsageReported: _usage,
    **RULES,
}
