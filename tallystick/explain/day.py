"""Explains the day, its limits, the circuit breaker and the priorities of products."""

from tallystick.config.amounts import COST, TOKENS, Triple
from tallystick.events import catalog as e
from tallystick.events.state.ledger import Ledger
from tallystick.explain.history import History
from tallystick.explain.row import Row, Rows, Style
from tallystick.wording import amounts


def _why_began(event: e.DayBegan, ledger: Ledger, history: History) -> list[str]:
    return [
        f"days begin at midnight in {ledger.rules.config.timezone} (timezone{history.since(e.ConfigLoaded)})",
        "nothing of the daily limits is used, raised limits are as configured again, and the breaker is closed",
    ]


def _why_tripped(event: e.BreakerTripped, ledger: Ledger, history: History) -> list[str]:
    settings = ledger.rules.config.circuit_breaker.when_tripped
    return [
        f"{event.condition} became true (circuit_breaker.trip_conditions{history.since(e.ConfigLoaded)})",
        *(f"{name} was {value}" for name, value in event.numbers.items()),
        "no new account is opened and no task starts until an operator or the next day closes it; what runs goes on",
        f"{settings.notify} is notified (circuit_breaker.when_tripped.notify)",
    ]


def _says_closed(event: e.BreakerClosed, say: Style) -> str:
    silenced = f"; for the rest of the day it ignores {', '.join(event.silenced)}" if event.silenced else ""
    return f"the circuit breaker was closed{silenced}"


def _why_closed(event: e.BreakerClosed, ledger: Ledger, history: History) -> list[str]:
    if event.silenced:
        return ["an operator closed it although that holds: it trips the breaker no more today"]
    return ["no condition of circuit_breaker.trip_conditions holds any more"]


def _why_approved(event: e.LimitApproved, ledger: Ledger, history: History) -> list[str]:
    limits, triple = ledger.rules.config.daily_limits, event.limits.triple
    configured: Triple = (
        None if triple[TOKENS] is None else limits.max_tokens_total,
        None,
        None if triple[COST] is None else limits.max_cost_nanos,
    )
    return [
        f"configured is {amounts(configured)} a day (daily_limits{history.since(e.ConfigLoaded)})",
        "an operator may raise it until the day ends (circuit_breaker.when_tripped.allow_override)",
        "an open breaker closes where no condition holds under the raised limit",
    ]


def _says_overridden(event: e.PriorityOverridden, say: Style) -> str:
    reason = "" if event.reason is None else f": {event.reason}"
    if event.priority is None:
        return f"the tasks of {event.product} have their own priorities again{reason}"
    return f"all tasks of {event.product} are {event.priority} from here on{reason}"


ROWS: Rows = {
    e.DayBegan: Row(lambda x, say: f"the day {x.date} began, until {say.time(x.ends_at)}", _why_began),
    e.BreakerTripped: Row(
        lambda x, say: f"the circuit breaker tripped: {x.because}",
        _why_tripped,
        after=(e.ConfigLoaded, e.LimitApproved),
    ),
    e.BreakerClosed: Row(_says_closed, _why_closed, after=(e.BreakerTripped, e.LimitApproved)),
    e.BreakerReset: Row(lambda x, say: f"the circuit breaker was reset: {x.reason}", after=(e.BreakerTripped,)),
    e.LimitApproved: Row(
        lambda x, say: f"limits were raised for {x.date}: {say.amounts(x.limits)}",
        _why_approved,
        after=(e.BreakerTripped, e.DayBegan),
    ),
    e.PriorityOverridden: Row(
        _says_overridden,
        "it stands above what a task names and above products and manual_override.priority_override of the file",
    ),
}
