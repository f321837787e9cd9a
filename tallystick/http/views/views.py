"""The views by name, each the JSON that the command of this name prints with ``--json``."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, get_args

import msgspec

from tallystick.events import catalog as e
from tallystick.events.decide.limit_status import get_limits
from tallystick.events.decide.turn import Turn
from tallystick.events.log.store import PAGE, Record, Store
from tallystick.events.messages.replies import Refusal
from tallystick.events.messages.track import GetLimits
from tallystick.explain.one_event import facts
from tallystick.explain.selection import TYPES, Selection
from tallystick.http.views.state import State
from tallystick.projections.reports.task_list import listed_tasks
from tallystick.projections.views import agent_rows
from tallystick.projections.views.agent_rows import AgentRow
from tallystick.projections.views.agents import AgentsView
from tallystick.projections.views.cost import LABEL, By
from tallystick.reports.alerts import alert_json, alerts_of
from tallystick.reports.dashboard import dashboard_of
from tallystick.reports.day_end import projected_eod
from tallystick.reports.forecasts import forecasts_of
from tallystick.reports.queue import queue_json, queue_of
from tallystick.reports.status import agent_json, status_json

QUEUE_SHOWN: Final = 100
LIMITS_SHOWN: Final = 100
EVENTS_SHOWN: Final = 100
EVENTS_MAX: Final = 1_000
ROWS_MAX: Final = 1_000
Params = Mapping[str, Any]


class Refused(LookupError):
    """What was asked for is not there; ``code`` says what."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def status(state: State, limit: int | None) -> dict[str, Any]:
    """`tallystick status`; with ``limit`` 0 without agents."""
    found: dict[str, Any] = msgspec.to_builtins(
        status_json(state.found, state.queries, state.work, state.costs, state.pace, limit)
    )
    return found


def agent(state: State, id: str) -> dict[str, Any]:
    """`tallystick status --agent`.

    Raises:
        Refused: no agent with this id was ever seen.
    """
    row = state.found.agent(id)
    if row is None:
        raise Refused("unknown_agent", f"no agent {id!r:.200} was ever seen here")
    is_open = id in state.found.agents
    found = agent_json(row, state.queries if is_open else None)
    return {**found, "burn": msgspec.to_builtins(state.pace.agent(row)) if is_open else None}


def dashboard(state: State) -> Any:
    """`tallystick dashboard`."""
    return msgspec.to_builtins(dashboard_of(state.views, state.now))


def queue(state: State, limit: int) -> dict[str, Any]:
    """`tallystick queue`."""
    if not state.work.waiting and not state.work.running:
        return {"tasks": [], "running": []}
    # What is expected of waiting tasks is written into the state.
    ledger = state.ledger()
    return queue_json(queue_of(ledger, state.now if state.live else state.asked_time or ledger.now, limit))


def limits(state: State, asked: Params) -> Any:
    """`tallystick limits`.

    Raises:
        ValueError, Refused: it cannot be asked so.
    """
    query = msgspec.convert({"type": "GetLimits", "count": LIMITS_SHOWN, **asked}, GetLimits)
    now = state.now if state.live else state.asked_time or state.counted.now
    found = get_limits(Turn(state.counted, now, "", ""), query)
    if isinstance(found, Refusal):
        raise Refused(found.code, found.detail)
    return msgspec.to_builtins(found)


def alerts(state: State, limit: int) -> list[dict[str, Any]]:
    """`tallystick alerts`."""
    return [alert_json(row) for row in alerts_of(state.views)[:limit]]


def tasks(state: State, limit: int) -> Any:
    """`tallystick tasks`."""
    return msgspec.to_builtins(listed_tasks(state.views, state.now)[:limit])


def forecast(state: State, workflow: str | None) -> dict[str, Any]:
    """`tallystick forecast`."""
    now = state.now if state.live else state.asked_time
    found: dict[str, Any] = msgspec.to_builtins(forecasts_of(state.views, workflow, now))
    return found


def cost(state: State, by: str | None) -> Any:
    """`tallystick cost`.

    Raises:
        ValueError: it is not known by that.
    """
    things = get_args(By)
    if by is not None and by not in things and not by.startswith(LABEL):
        raise ValueError(f"by: found {by!r:.100}, allowed are {', '.join(things)} and {LABEL}NAME")
    now = state.now if state.live else state.found.fleet.at
    costs = state.costs
    return msgspec.to_builtins(costs.day(projected_eod(state.views, costs, now)) if by is None else costs.by(by))


def events(state: State, store: Store, asked: "EventsAsked") -> list[dict[str, Any]]:
    """`tallystick events`: the last ones up to the position, in order.

    Raises:
        ValueError: there is no such type of event.
    """
    kinds = [TYPES.get(name.partition(".v")[0]) for name in asked.type]
    if None in kinds:
        raise ValueError(f"type: found {', '.join(asked.type)!r:.200}, docs/reference/events.md lists them")
    selection = Selection(
        agent=asked.agent, task=asked.task, types=frozenset(filter(None, kinds)), refused=asked.refused
    )
    upto = state.position if asked.before is None else min(state.position, asked.before - 1)
    count = min(max(1, asked.limit), EVENTS_MAX)
    found: list[dict[str, Any]] = []
    agents = frozenset() if asked.product is None else _agents_of(state, asked.product)
    for record, event in _backwards(store, selection, upto):
        if _is_of(event, asked, state.costs.aliases, agents):
            found.append(facts(event, record.name))
            if len(found) == count:
                break
    return found[::-1]


def _backwards(store: Store, selection: Selection, upto: int) -> Iterator[tuple[Record, e.Event]]:
    while upto > 0:
        after = max(0, upto - PAGE)
        yield from reversed(list(selection.among(store.read(after, upto))))
        upto = after


def _is_of(event: e.Event, asked: "EventsAsked", aliases: Mapping[str, str], agents: frozenset[str]) -> bool:
    """Whether an event names the model, by its id or by what the catalogue calls it, and belongs to the product."""
    model, product = getattr(event, "model", None), getattr(event, "product", None)
    return (asked.model is None or (model is not None and asked.model in (model, aliases.get(model)))) and (
        asked.product is None or product == asked.product or getattr(event, "agent", None) in agents
    )


def _agents_of(state: State, product: str) -> frozenset[str]:
    """The agents of a product, released ones too: those that name it, or else whose nearest parent with one does."""
    kept = state.views.whole((AgentsView.name,)).rows[AgentsView.name]
    rows = {row.agent: row for row in map(agent_rows.decode, kept)}
    found = set()
    for row in rows.values():
        at: AgentRow | None = row
        while at is not None and at.product is None and at.parent is not None:
            at = rows.get(at.parent)
        if at is not None and at.product == product:
            found.add(row.agent)
    return frozenset(found)


class EventsAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Which events: at most ``limit``, the newest before position ``before``; the rest is as the command has it, and
    only those of a ``model`` or a ``product``.
    """

    agent: str | None = None
    task: str | None = None
    model: str | None = None
    product: str | None = None
    type: tuple[str, ...] = ()
    refused: bool = False
    before: int | None = None
    limit: int = EVENTS_SHOWN


class RowsAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What the plain views and the page are asked for."""

    limit: int | None = None
    agent: str | None = None
    by: str | None = None
    workflow: str | None = None
    every: bool = False


def rows(asked: RowsAsked, otherwise: int = ROWS_MAX) -> int:
    """How many rows are meant."""
    return min(max(0, otherwise if asked.limit is None else asked.limit), ROWS_MAX)


class Plain(NamedTuple):
    """A view that needs nothing but a state, and the parameters that it takes beside the moment."""

    parameters: tuple[str, ...]
    show: Callable[[State, RowsAsked], Any]


PLAIN: Final[Mapping[str, Plain]] = {
    "alerts": Plain(("limit",), lambda state, asked: alerts(state, rows(asked))),
    "cost": Plain(("by",), lambda state, asked: cost(state, asked.by)),
    "dashboard": Plain((), lambda state, _: dashboard(state)),
    "forecast": Plain(("workflow",), lambda state, asked: forecast(state, asked.workflow)),
    "limits": Plain(
        ("agent", "limit"),
        lambda state, asked: limits(state, {"count": max(1, rows(asked, LIMITS_SHOWN)), "agent": asked.agent}),
    ),
    "queue": Plain(("limit",), lambda state, asked: queue(state, max(1, rows(asked, QUEUE_SHOWN)))),
    "status": Plain(
        ("agent", "limit"),
        lambda state, asked: status(state, rows(asked)) if asked.agent is None else agent(state, asked.agent),
    ),
    "tasks": Plain(("limit",), lambda state, asked: tasks(state, rows(asked))),
}
"""The plain views by name."""
