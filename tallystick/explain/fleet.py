"""Explains what concerns the whole fleet: settings, totals, pauses, the response to pressure, alerts, snapshots."""

from tallystick.config.amounts import EDGE_NAMES, dollars
from tallystick.events import catalog as e
from tallystick.events.state.ledger import Ledger
from tallystick.explain.history import History
from tallystick.explain.row import Row, Rows, Style, only, unit
from tallystick.wording import counted, exact_percent

_RESPONSE_SETTINGS = {
    "throttle": "enforcement.fleet.throttle_at",
    "degrade": "enforcement.fleet.degrade_at",
    "stop": "enforcement.fleet.stop_at",
    "stop_all": "",
}


def _says_prices(event: e.PricesLoaded, say: Style) -> str:
    over = f", over those of {event.published['source']}," if event.published else ""
    written = counted(len(event.prices), "written price")
    return f"a list of {written}{over} came into force (sha256 {event.sha256[:16]}…)"


def _total(event: "e.TotalBudgetSet | e.PeriodRenewed", say: Style) -> str:
    debt = event.overdraft
    owed = "" if not any(debt.triple) else f", overdraft {say.amounts(debt)}"
    ends = "" if event.period_ends_at is None else f", until {say.time(event.period_ends_at)}"
    return f"{say.amounts(event.budget)}, of which {say.amounts(event.reserve)} in reserve{owed}{ends}"


def _says_response(event: e.FleetResponseChanged, say: Style) -> str:
    what = f"from {event.before} to {event.response}"
    return f"the fleet's response went {what} at a pressure of {say.percent(event.pressure)} ({unit(event.dimension)})"


def _why_response(event: e.FleetResponseChanged, ledger: Ledger, history: History) -> list[str]:
    d = EDGE_NAMES.index(event.dimension)
    spent, held = only(d, ledger.spent[d] - ledger.opening[d]), only(d, ledger.held[d])
    lines = []
    # Where no total is limited there is no pressure, and the event names a dimension all the same.
    if ledger.root.allocated[d] is not None:
        lines.append(
            f"{spent} spent and {held} held in this period, against {only(d, ledger.spendable(d))} that the fleet can"
            " spend (the total less the configured reserve)"
        )
    slack = exact_percent(float(ledger.rules.fleet_hysteresis))
    in_force = history.since(e.ConfigLoaded)
    for name, setting in _RESPONSE_SETTINGS.items():
        if name in (event.before, event.response):
            at = "100 % of the total"
            if setting:
                begins = exact_percent(float(ledger.rules.fleet_at[e.RESPONSES.index(name) - 1]))
                at = f"{begins} ({setting}{in_force})"
            lines.append(f"{name} begins at {at} and ends {slack} below it")
    return lines


def _says_not_delivered(event: e.AlertDeliveryFailed, say: Style) -> str:
    reason = {
        "not_accepted": f"it was not accepted in {event.attempts} attempts",
        "outbox_full": "too many alerts waited, and it was the oldest",
    }
    return f"alert {event.alert} was not delivered to {event.to} (address {event.address}): {reason[event.reason]}"


def _its_alert(event: "e.AlertDelivered | e.AlertDeliveryFailed", ledger: Ledger, history: History) -> list[int | None]:
    _, _, raised = event.alert.rpartition("-")
    return [int(raised) if raised.isdigit() else None]


def _says_opened(event: e.FleetOpened, say: Style) -> str:
    text = f"the fleet was opened again; nothing was heard since {say.time(event.down_since)}"
    return text if event.leases_until is None else f"{text}; all leases last until {say.time(event.leases_until)}"


def _why_opened(event: e.FleetOpened, ledger: Ledger, history: History) -> list[str]:
    return ["what the manager was not there to hear does not count: leases begin anew, and the outage is no operation"]


def _says_apart(event: e.ClockApart, say: Style) -> str:
    way = "ahead of" if event.apart_ms > 0 else "behind"
    return f"the machine's clock is {abs(event.apart_ms) // 1000} s {way} the fleet's time"


def _why_apart(event: e.ClockApart, ledger: Ledger, history: History) -> list[str]:
    if event.apart_ms > 0:
        return ["a step ahead of more than a minute is not followed before AcceptClock; time goes on as it passes"]
    return ["the time of a log never goes back: it goes on as time passes"]


def _says_reconciled(event: e.BillReconciled, say: Style) -> str:
    return (
        f"the bill of {event.provider} from {event.first_day} to {event.last_day} says"
        f" ${dollars(event.billed_nanos)}, of which ${dollars(event.explained_nanos)} is explained and agents had"
        f" reported ${dollars(event.reported_nanos)}"
    )


def _why_reconciled(event: e.BillReconciled, ledger: Ledger, history: History) -> list[str]:
    return [f"reported less than was billed: {', '.join(event.short)}"] if event.short else []


ROWS: Rows = {
    e.BillReconciled: Row(_says_reconciled, _why_reconciled),
    e.ConfigLoaded: Row(lambda x, say: f"a configuration came into force (sha256 {x.sha256[:16]}…)"),
    e.RulesAdopted: Row(lambda x, say: f"from here on decisions follow version {x.rules} of the rules"),
    e.PricesLoaded: Row(_says_prices),
    e.TotalBudgetSet: Row(lambda x, say: f"the fleet's budget is {_total(x, say)}"),
    e.PeriodRenewed: Row(lambda x, say: f"a budget period began: {_total(x, say)}"),
    e.FleetPaused: Row(lambda x, say: f"everything was paused: {x.reason}"),
    e.FleetOpened: Row(_says_opened, _why_opened),
    e.ClockApart: Row(_says_apart, _why_apart),
    e.ClockTogether: Row(lambda x, say: "the machine's clock and the fleet's time agree again", after=(e.ClockApart,)),
    e.ClockAccepted: Row(
        lambda x, say: (
            f"the machine's clock, {x.ahead_ms // 1000} s ahead, was accepted: {x.reason or 'no reason given'}"
        ),
        lambda x, ledger, history: (
            ["the step is no operation: each hold and lease keeps the time that it had left"]
            if x.keeps_time_left
            else []
        ),
        after=(e.ClockApart,),
    ),
    e.FleetResumed: Row(lambda x, say: "the pause was ended", after=(e.FleetPaused,)),
    e.ReserveReleased: Row(lambda x, say: f"the emergency reserve was opened for critical agents: {x.reason}"),
    e.FleetResponseChanged: Row(
        _says_response, _why_response, after=(e.FleetResponseChanged, e.TotalBudgetSet, e.PeriodRenewed)
    ),
    e.SpecialistGivenUp: Row(
        lambda x, say: f"the {x.specialist} was given up: {x.reason}",
        lambda x, ledger, history: ["it failed more often than it is replaced; a restart of the fleet begins it anew"],
    ),
    e.SpecialistRestored: Row(
        lambda x, say: f"the {x.specialist} was there again: the fleet was started anew", after=(e.SpecialistGivenUp,)
    ),
    e.PoolExhausted: Row(
        lambda x, say: f"the pool ran short, with {say.amounts(x.available)} free: every open agent is notified once"
    ),
    e.AlertRaised: Row(lambda x, say: f"alert {x.code}: {x.message}"),
    e.AlertDelivered: Row(
        lambda x, say: f"alert {x.alert} was delivered to {x.to} (address {x.address})", also=_its_alert
    ),
    e.AlertDeliveryFailed: Row(_says_not_delivered, also=_its_alert),
    e.SnapshotRecorded: Row(
        lambda x, say: f"a snapshot of the state at position {x.upto} was taken (sha256 {x.sha256[:16]}…)"
    ),
}
