"""One row per event of the catalogue: what it says, why it was decided so, and what it followed from."""

from tallystick.events import catalog as e
from tallystick.events.state.ledger import Ledger
from tallystick.explain import access, budgets, day, delegation, enforcement, fleet, forecasts, limits, tasks, usage
from tallystick.explain.history import History, named_by
from tallystick.explain.row import EXACT, Row, Style

TABLES = (
    budgets.ROWS,
    usage.ROWS,
    enforcement.ROWS,
    tasks.ROWS,
    day.ROWS,
    limits.ROWS,
    fleet.ROWS,
    forecasts.ROWS,
    access.ROWS,
    delegation.ROWS,
)
_ROWS: dict[type[e.Event], Row] = {kind: row for table in TABLES for kind, row in table.items()}


def sentence(event: e.Event, style: Style = EXACT) -> str:
    """What happened."""
    return _ROWS[type(event)].says(event, style)


def why(event: e.Event, ledger: Ledger, history: History) -> list[str]:
    """The rule and its numbers; ``ledger`` is the state just after the event."""
    rule = _ROWS[type(event)].why
    if isinstance(rule, str):
        return [rule] if rule else []
    return rule(event, ledger, history)


def causes(event: e.Event, ledger: Ledger, history: History) -> list[int]:
    """The positions of the earlier events that this one followed from; asked before it is folded itself."""
    row = _ROWS[type(event)]
    found = [history.newest(kind, named_by(event)) for kind in row.after]
    if row.also is not None:
        found += row.also(event, ledger, history)
    return sorted({position for position in found if position is not None})
