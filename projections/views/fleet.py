"""One row for the whole fleet: totals, the pool, the reserve, what is owed, and what asks for a person's attention."""

import datetime as dt
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from tallystick.config.amounts import DIMENSIONS, NOTHING, Amounts, Triple
from tallystick.config.prices import from_mapping as prices_from_mapping
from tallystick.events import catalog as e
from tallystick.events.catalog.event import EPOCH
from tallystick.events.evolve.account_read_model import AccountModels
from tallystick.events.state.accounts import OVERDRAFT, POOL, RESERVE, ZERO, Money, limited, minus, money, plus
from tallystick.projections.views.view import Changes, Look, Row, Steps, encode, moved, within

FLEET = "fleet"
"""The id of the one row."""


class FleetRow(msgspec.Struct, kw_only=True, gc=False):
    """The fleet at ``position``; amounts in internal units (tokens, milliseconds, nano-dollars).

    ``total``, ``pool``, ``reserve`` and ``overdraft`` name the dimensions that the fleet limits; the others those in
    which there is something. ``total`` and ``consumed`` speak of the current period, and ``opening`` is what had been
    used when it began. ``charged`` and ``charged_holds`` are what no agent's account limits, so that the fleet pays it
    itself. ``closed_allocated`` and ``closed_consumed`` are what released accounts had been granted and used, what
    passed through a parent and its sub-agents counted once, and a run of a task with its token budget. Of the runs at
    hand, ``token_budgets`` has those. ``unpriced`` are guessed costs by model, until it has a price.
    """

    position: int = 0
    at: dt.datetime = EPOCH
    total: Amounts = Amounts()
    allocated: Amounts = Amounts()
    consumed: Amounts = Amounts()
    held: Amounts = Amounts()
    pool: Amounts = Amounts()
    reserve: Amounts = Amounts()
    overdraft: Amounts = Amounts()
    opening: Amounts = Amounts()
    charged: Amounts = Amounts()
    charged_holds: Amounts = Amounts()
    closed_allocated: Amounts = Amounts()
    closed_consumed: Amounts = Amounts()
    unallocated: Amounts = Amounts()
    unallocated_reports: int = 0
    unpriced: dict[str, int] = {}
    response: str = e.RESPONSES[0]
    paused: str | None = None
    reserve_open: bool = False
    period_began_at: dt.datetime | None = None
    period_ends_at: dt.datetime | None = None
    agents_open: int = 0
    agents_released: int = 0
    alerts: int = 0
    token_budgets: dict[str, int] = {}
    config: dict[str, Any] = {}


decode = msgspec.json.Decoder(FleetRow).decode


def fleet_in(rows: Iterable[bytes]) -> FleetRow:
    """The fleet's row out of the rows of the view; an empty one where nothing was recorded."""
    return next(map(decode, rows), FleetRow())


class FleetView:
    """Folds the fleet's row."""

    name = "fleet"
    version = 2

    def __init__(self, standings: AccountModels, look: Look) -> None:
        self._standings = standings
        self._row = FleetRow()
        """What no amounts below say; its amounts are put in when it is asked for."""
        self._root_total: Triple = NOTHING
        self._reserve = self._overdraft = ZERO
        self._spent = self._opening = ZERO
        self._closed_allocated = self._closed_consumed = self._unallocated = ZERO

    def changes(self, last: e.Event) -> Changes:
        row, standings = self._row, self._standings
        row.position, row.at = last.position, last.at
        limits, pool = self._root_total, standings.pool
        charged = (pool.consumed[0], pool.consumed[1], pool.consumed[2])
        owned = plus(money(limits), self._overdraft)
        given = plus(plus(charged, pool.held), plus(pool.delegated, self._reserve))
        row.total = within(limits, minus(money(limits), self._opening))
        row.allocated = moved(pool.delegated)
        row.consumed = moved(minus(self._spent, self._opening))
        row.held = moved(standings.held)
        row.pool = within(limits, minus(owned, given))
        row.reserve = within(limits, self._reserve)
        row.overdraft = within(limits, self._overdraft)
        row.opening = moved(self._opening)
        row.charged, row.charged_holds = moved(charged), moved(pool.held)
        row.closed_allocated, row.closed_consumed = moved(self._closed_allocated), moved(self._closed_consumed)
        row.unallocated = moved(self._unallocated)
        row.agents_open = len(standings.agents)
        return {FLEET: Row(encode(row), live=True)}

    def restore(self, rows: Iterable[bytes]) -> None:
        for data in rows:
            self._row = row = decode(data)
            pool = self._standings.pool
            self._opening = money(row.opening.triple)
            self._spent = plus(self._opening, money(row.consumed.triple))
            total = row.total.triple
            self._root_total = limited(total, plus(money(total), self._opening))
            self._reserve, self._overdraft = money(row.reserve.triple), money(row.overdraft.triple)
            self._closed_allocated = money(row.closed_allocated.triple)
            self._closed_consumed = money(row.closed_consumed.triple)
            self._unallocated = money(row.unallocated.triple)
            self._standings.held = money(row.held.triple)
            pool.consumed, pool.held = list(money(row.charged.triple)), money(row.charged_holds.triple)
            pool.delegated = money(row.allocated.triple)

    # --- one step per class of event ----------------------------------------------------------------------------------

    def _used(self, event: "e.UsageReported | e.HoldSettled") -> None:
        self._spent = plus(self._spent, (event.tokens, event.time_ms, event.cost_nanos))

    def _reported(self, event: e.UsageReported) -> None:
        self._used(event)
        if event.unpriced and event.model is not None:
            unpriced = self._row.unpriced
            unpriced[event.model] = unpriced.get(event.model, 0) + event.cost_nanos
        if event.unallocated:
            self._unallocated = plus(self._unallocated, (event.tokens, event.time_ms, event.cost_nanos))
            self._row.unallocated_reports += 1

    def _released(self, event: e.BudgetReleased) -> None:
        """Keep what the account had been granted and used itself; its sub-agents' part was kept when they closed."""
        standing = self._standings.agents[event.agent]
        limits = with_budget(standing.allocated, self._row.token_budgets.pop(event.agent, None))
        allocated, consumed = [0, 0, 0], [0, 0, 0]
        for d in DIMENSIONS:
            limit = limits[d]
            if limit is not None:
                allocated[d] = max(0, limit - standing.closed[d])
                consumed[d] = standing.consumed[d] - standing.closed[d]
        self._closed_allocated = plus(self._closed_allocated, (allocated[0], allocated[1], allocated[2]))
        self._closed_consumed = plus(self._closed_consumed, (consumed[0], consumed[1], consumed[2]))
        self._row.agents_released += 1

    def _started(self, event: e.TaskStarted) -> None:
        if event.token_budget is not None:
            self._row.token_budgets[event.task] = event.token_budget

    def _total_set(self, event: "e.TotalBudgetSet | e.PeriodRenewed") -> None:
        self._root_total = event.total.triple
        self._reserve, self._overdraft = money(event.reserve.triple), money(event.overdraft.triple)
        self._row.reserve_open = False
        self._row.period_ends_at = event.period_ends_at

    def _renewed(self, event: e.PeriodRenewed) -> None:
        self._opening = self._spent
        self._row.period_began_at = event.began_at
        self._total_set(event)

    def _covered(self, event: e.Covered) -> None:
        if event.target == POOL:
            self._fund(event.source, money(event.amount.triple))

    def _repaid(self, event: e.CoverRepaid) -> None:
        if event.source == POOL:
            self._fund(event.target, minus(ZERO, money(event.amount.triple)))

    def _fund(self, source: str, units: Money) -> None:
        """Put money into the pool, out of the reserve or as a debt; or back, where ``units`` are negative."""
        if source == RESERVE:
            self._reserve = minus(self._reserve, units)
        elif source == OVERDRAFT:
            self._overdraft = plus(self._overdraft, units)

    def _reserve_drawn(self, event: e.ReserveDrawn) -> None:
        self._fund(RESERVE, money(event.amount.triple))

    def _reserve_released(self, event: e.ReserveReleased) -> None:
        self._row.reserve_open = True

    def _response_changed(self, event: e.FleetResponseChanged) -> None:
        self._row.response = event.response

    def _paused(self, event: e.FleetPaused) -> None:
        self._row.paused = event.reason

    def _resumed(self, event: e.FleetResumed) -> None:
        self._row.paused = None

    def _alerted(self, event: e.AlertRaised) -> None:
        self._row.alerts += 1

    def _configured(self, event: e.ConfigLoaded) -> None:
        self._row.config = event.config

    def _priced(self, event: e.PricesLoaded) -> None:
        """What has a price now is no longer flagged; a model may be called by its alias in the catalogue."""
        prices, catalogue = prices_from_mapping(event.prices, event.published), self._row.config.get("models", {})
        for model in tuple(self._row.unpriced):
            entry = catalogue.get(model) or {"id": model, "provider": None}
            if prices.find(entry["id"], entry["provider"]) is not None:
                del self._row.unpriced[model]

    steps: ClassVar[Steps] = {
        e.UsageReported: _reported,
        e.HoldSettled: _used,
        e.BudgetReleased: _released,
        e.TaskStarted: _started,
        e.TotalBudgetSet: _total_set,
        e.PeriodRenewed: _renewed,
        e.Covered: _covered,
        e.CoverRepaid: _repaid,
        e.ReserveDrawn: _reserve_drawn,
        e.ReserveReleased: _reserve_released,
        e.FleetResponseChanged: _response_changed,
        e.FleetPaused: _paused,
        e.FleetResumed: _resumed,
        e.AlertRaised: _alerted,
        e.ConfigLoaded: _configured,
        e.PricesLoaded: _priced,
    }


def with_budget(limits: Triple, token_budget: int | None) -> Triple:
    """What an account is measured by: a run of a task by its token budget, and not by the hard end above it."""
    return limits if token_budget is None else (token_budget, limits[1], limits[2])
