"""One row for the whole fleet: totals, the pool, the reserve, what is owed, and what asks for attention."""

import datetime as dt
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from tallystick.config.amounts import EDGE_NAMES, TOKENS, Amounts, Triple
from tallystick.config.prices import from_mapping as prices_from_mapping
from tallystick.events import catalog as e
from tallystick.events.catalog.event import EPOCH
from tallystick.events.catalog.rules_version import FIRST_RULES, check_known
from tallystick.events.evolve.fleet import bill_of
from tallystick.events.state.accounts import Balances
from tallystick.events.state.bills import Bills, put_bill
from tallystick.events.state.delegation import ENDED, NOT_ASKED
from tallystick.events.state.money import ZERO, Money, less, limited, minus, money, plus
from tallystick.projections.views.summed_use import SummedUse, nothing
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
    hand, ``token_budgets`` has those. ``unpriced`` are guessed costs by model, until it has a price. ``rules`` is the
    version by which decisions are made now.
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
    clock_apart_ms: int = 0
    config: dict[str, Any] = {}
    rules: int = FIRST_RULES
    given_up: dict[str, str] = {}
    stopped_above: str | None = None
    """Why the parent lets nothing go on, where the total comes from one; what follows, as it was heard last."""
    granted: Amounts = Amounts()
    """All that the parent ever granted."""
    given_back: Amounts = Amounts()
    booked: int = 0
    """The position up to which the parent has booked what was used."""
    estimated_settled: int = 0
    """The holds that were learned from earlier outputs and are settled."""
    estimated_over: int = 0
    """Those of them that used more tokens than was held."""
    bills: Bills = {}
    """By provider, what came of the newest bill that was reconciled."""

    @property
    def why_paused(self) -> str:
        """Why everything is stopped, where it is."""
        if self.paused is None and self.stopped_above is not None:
            return f"by the parent: {self.stopped_above}"
        return self.paused or "by configuration"


decode = msgspec.json.Decoder(FleetRow).decode


def fleet_in(rows: Iterable[bytes]) -> FleetRow:
    """The fleet's row out of the rows of the view; an empty one where nothing was recorded."""
    return next(map(decode, rows), FleetRow())


class FleetView:
    """Folds the fleet's row."""

    name = "fleet"
    version = 8

    def __init__(self, balances: Balances, look: Look) -> None:
        self._balances = balances
        self._row = FleetRow()
        """What no amounts below say; its amounts are put in when it is asked for."""
        self._closed_allocated = self._closed_consumed = self._unallocated = ZERO

    def changes(self, last: e.Event) -> Changes:
        row, balances = self._row, self._balances
        row.position, row.at = last.position, last.at
        root, reserve = balances.root, balances.reserve.granted
        limits, opening = root.allocated, balances.opening
        row.total = within(limits, minus(money(limits), opening))
        row.allocated = moved(minus(root.delegated, reserve))
        row.consumed = moved(minus(_money(balances.spent), opening))
        row.held = moved(_money(balances.held))
        row.pool = within(limits, root.free)
        row.reserve = within(limits, reserve)
        row.overdraft = within(limits, root.cover)
        row.opening = moved(opening)
        row.charged, row.charged_holds = moved(plus(root.spent, root.closed)), moved(root.held)
        row.closed_allocated, row.closed_consumed = moved(self._closed_allocated), moved(self._closed_consumed)
        row.unallocated = moved(self._unallocated)
        row.agents_open = len(balances.accounts)
        return {FLEET: Row(encode(row), live=True)}

    def restore(self, rows: Iterable[bytes]) -> None:
        for data in rows:
            self._row = row = decode(data)
            check_known(row.rules)
            self._closed_allocated = money(row.closed_allocated.triple)
            self._closed_consumed = money(row.closed_consumed.triple)
            self._unallocated = money(row.unallocated.triple)
            restore_root(self._balances, row)

    # --- one step per class of event ----------------------------------------------------------------------------------

    def _flagged(self, event: "e.UsageReported | e.HoldSettled") -> None:
        if event.unpriced and event.model is not None:
            unpriced = self._row.unpriced
            unpriced[event.model] = unpriced.get(event.model, 0) + event.cost_nanos

    def _settled(self, event: e.HoldSettled) -> None:
        self._flagged(event)
        hold = self._balances.holds[event.hold]
        if hold.estimated and not event.partial:
            self._row.estimated_settled += 1
            self._row.estimated_over += hold.booked[TOKENS] + event.tokens > hold.placed[TOKENS]

    def _reported(self, event: e.UsageReported) -> None:
        self._flagged(event)
        if event.unallocated and not event.history:
            self._unallocated = plus(self._unallocated, (event.tokens, event.time_ms, event.cost_nanos))
            self._row.unallocated_reports += 1

    def _corrected(self, event: e.UsageCorrected) -> None:
        if isinstance(event.record, e.UsageReported) and event.record.unallocated and not event.record.history:
            self._unallocated = plus(self._unallocated, event.difference)
        unpriced = self._row.unpriced
        for said, sign in ((event.counted, -1), (event.counts, 1)):
            if said.unpriced and said.model is not None and (sign > 0 or said.model in unpriced):
                unpriced[said.model] = unpriced.get(said.model, 0) + sign * said.cost_nanos
                if unpriced[said.model] <= 0:
                    del unpriced[said.model]
        # What one of its closed accounts limits is in what these had used.
        closed = [units if EDGE_NAMES[d] in event.closed_in else 0 for d, units in enumerate(event.difference)]
        self._closed_consumed = plus(self._closed_consumed, (closed[0], closed[1], closed[2]))

    def _released(self, event: e.BudgetReleased) -> None:
        """Keep what the account had been granted and used itself; its sub-agents' part was kept when they closed."""
        account = self._balances.accounts[event.agent]
        limits = with_budget(account.allocated, self._row.token_budgets.pop(event.agent, None))
        allocated = money(limited(limits, less(money(limits), account.closed)))
        consumed = money(limited(limits, account.spent))
        self._closed_allocated = plus(self._closed_allocated, allocated)
        self._closed_consumed = plus(self._closed_consumed, consumed)
        self._row.agents_released += 1

    def _started(self, event: e.TaskStarted) -> None:
        if event.token_budget is not None:
            self._row.token_budgets[event.task] = event.token_budget

    def _total_set(self, event: "e.TotalBudgetSet | e.PeriodRenewed") -> None:
        self._row.reserve_open = False
        self._row.period_ends_at = event.period_ends_at

    def _renewed(self, event: e.PeriodRenewed) -> None:
        self._row.period_began_at = event.began_at
        self._total_set(event)

    def _reserve_released(self, event: e.ReserveReleased) -> None:
        self._row.reserve_open = True

    def _response_changed(self, event: e.FleetResponseChanged) -> None:
        self._row.response = event.response

    def _paused(self, event: e.FleetPaused) -> None:
        self._row.paused = event.reason

    def _resumed(self, event: e.FleetResumed) -> None:
        self._row.paused = None

    def _heard_parent(self, event: e.ParentAnswered) -> None:
        row = self._row
        row.stopped_above, row.granted = event.stopped, event.granted or row.granted
        row.booked = event.booked or row.booked

    def _gave_back(self, event: e.ReturnAsked) -> None:
        back = plus(money(self._row.given_back.triple), money(event.amount.triple))
        self._row.given_back = moved(back)

    def _ended(self, event: e.DelegationEnded) -> None:
        self._row.stopped_above = ENDED

    def _gave_up(self, event: e.SpecialistGivenUp) -> None:
        self._row.given_up[event.specialist] = event.reason

    def _restored(self, event: e.SpecialistRestored) -> None:
        self._row.given_up.pop(event.specialist, None)

    def _clock_apart(self, event: e.ClockApart) -> None:
        self._row.clock_apart_ms = event.apart_ms

    def _clock_together(self, event: "e.ClockTogether | e.ClockAccepted") -> None:
        self._row.clock_apart_ms = 0

    def _alerted(self, event: e.AlertRaised) -> None:
        self._row.alerts += 1

    def _configured(self, event: e.ConfigLoaded) -> None:
        if not self._row.config and event.config.get("delegate"):
            self._row.stopped_above = NOT_ASKED
        self._row.config = event.config
        self._row.rules = max(self._row.rules, event.rules)

    def _bill(self, event: e.BillReconciled) -> None:
        put_bill(self._row.bills, event.provider, bill_of(event))

    def _adopted(self, event: e.RulesAdopted) -> None:
        self._row.rules = max(self._row.rules, event.rules)

    def _priced(self, event: e.PricesLoaded) -> None:
        """What has a price now is no longer flagged; a model may be called by its alias in the catalogue."""
        prices, catalogue = prices_from_mapping(event.prices, event.published), self._row.config.get("models", {})
        for model in tuple(self._row.unpriced):
            by_id = next((one for one in catalogue.values() if one and one["id"] == model), None)
            entry = catalogue.get(model) or by_id or {"id": model, "provider": None}
            if prices.find(entry["id"], entry["provider"]) is not None:
                del self._row.unpriced[model]

    steps: ClassVar[Steps] = {
        e.UsageReported: _reported,
        SummedUse: nothing,
        e.HoldSettled: _settled,
        e.UsageCorrected: _corrected,
        e.BudgetReleased: _released,
        e.TaskStarted: _started,
        e.TotalBudgetSet: _total_set,
        e.PeriodRenewed: _renewed,
        e.ReserveReleased: _reserve_released,
        e.FleetResponseChanged: _response_changed,
        e.FleetPaused: _paused,
        e.FleetResumed: _resumed,
        e.ParentAnswered: _heard_parent,
        e.ReturnAsked: _gave_back,
        e.DelegationEnded: _ended,
        e.SpecialistGivenUp: _gave_up,
        e.SpecialistRestored: _restored,
        e.ClockApart: _clock_apart,
        e.ClockTogether: _clock_together,
        e.ClockAccepted: _clock_together,
        e.AlertRaised: _alerted,
        e.ConfigLoaded: _configured,
        e.RulesAdopted: _adopted,
        e.PricesLoaded: _priced,
        e.BillReconciled: _bill,
    }


def restore_root(balances: Balances, row: FleetRow) -> None:
    """Put into ``balances`` what the row says of the root, the reserve and the sums; its accounts are not touched."""
    root, reserve, opening = balances.root, balances.reserve, money(row.opening.triple)
    root.allocated = limited(row.total.triple, plus(money(row.total.triple), opening))
    root.cover, root.free = money(row.overdraft.triple), money(row.pool.triple)
    root.spent, root.held = money(row.charged.triple), money(row.charged_holds.triple)
    reserve.cover = money(row.reserve.triple)
    reserve.free = reserve.granted
    root.delegated = plus(money(row.allocated.triple), reserve.granted)
    balances.opening = opening
    balances.spent = list(plus(opening, money(row.consumed.triple)))
    balances.held = list(money(row.held.triple))


def _money(units: list[int]) -> Money:
    return (units[0], units[1], units[2])


def with_budget(limits: Triple, token_budget: int | None) -> Triple:
    """What an account is measured by: a run of a task by its token budget, and not by the hard end above it."""
    return limits if token_budget is None else (token_budget, limits[1], limits[2])
