"""The rows of each panel: which there are after sorting and filtering, and their cells."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from rich.text import Text

from tallystick.cli.burning import empty_in
from tallystick.cli.limits import amounts_of
from tallystick.cli.status import level_text, used_percent
from tallystick.config.amounts import COST, DIMENSIONS, TOKENS
from tallystick.events.state.money import money
from tallystick.top.figures import AgentLine, Figures, limit_id
from tallystick.top.state import Panel, State
from tallystick.wording import NONE, amount, compact, duration, in_cents, number, one_line, percent, shown_time

_UNITS: Final = {TOKENS: " tokens", COST: ""}
_NEVER: Final = float("inf")

Cell = str | Text


class Row(NamedTuple):
    """A row of a panel: what it is known by, what a filter looks at, and its cells, which are made when it is shown."""

    id: str
    text: str
    cells: Callable[[], Sequence[Cell]]


class Column(NamedTuple):
    """A column: its heading, whether figures are in it, and whether it takes the room that is left."""

    name: str
    is_figure: bool = False
    grows: bool = False


def _figure(name: str) -> Column:
    return Column(name, is_figure=True)


COLUMNS: Final[dict[Panel, tuple[Column, ...]]] = {
    "agents": (
        Column("agent", grows=True),
        Column("level"),
        Column("action"),
        _figure("used"),
        _figure("left"),
        _figure("tokens/h"),
        _figure("$/h"),
        _figure("empty in"),
    ),
    "tasks": (
        Column("task"),
        Column("state"),
        Column("what", grows=True),
        _figure("for"),
        _figure("tokens"),
        _figure("cost"),
    ),
    "limits": (
        Column("limit", grows=True),
        Column("of"),
        Column("window"),
        _figure("taken"),
        _figure("used"),
        _figure("left"),
    ),
    "alerts": (Column("at"), Column("code"), Column("alert", grows=True)),
    "events": (Column("event", grows=True),),
}


def rows_of(figures: Figures, state: State) -> list[Row]:
    """The panel's rows, sorted and filtered as the state says."""
    found = _READERS[state.panel](figures, state.sort)
    if state.reversed:
        found.reverse()
    wanted = state.filter.casefold()
    return [row for row in found if wanted in row.text.casefold()] if wanted else found


def _agents(figures: Figures, sort: str) -> list[Row]:
    lines = sorted(figures.agents, key=_AGENT_ORDERS[sort])
    return [
        Row(
            line.row.agent,
            " ".join(filter(None, (line.row.agent, line.row.agent_type, line.row.product, line.row.level))),
            lambda line=line: _agent(figures, line),  # type: ignore[misc]
        )
        for line in lines
    ]


_AGENT_ORDERS: Final[dict[str, Callable[[AgentLine], tuple[float | str, ...]]]] = {
    "exhaustion": lambda one: (
        _NEVER if one.empty_in is None else one.empty_in,
        -one.row.percentage,
        one.row.agent,
    ),
    "used": lambda one: (-one.row.percentage, one.row.agent),
    "tokens/h": lambda one: (-one.burn.tokens_per_hour, one.row.agent),
    "cost/h": lambda one: (-float(one.burn.cost_usd_per_hour), one.row.agent),
    "name": lambda one: (one.row.agent,),
}


def _agent(figures: Figures, line: AgentLine) -> list[Cell]:
    row, burn = line.row, line.burn
    left = [amount(units, d) for d in DIMENSIONS if (units := row.remaining.triple[d]) is not None]
    return [
        one_line(row.agent),
        level_text(row.level),
        figures.queries.budget_status(row.agent).action,
        f"{used_percent(row)} %",
        left[0] if left else NONE,
        compact(burn.tokens_per_hour) if burn.tokens_per_hour else NONE,
        NONE if burn.cost_usd_per_hour == "0.00" else in_cents(burn.cost_usd_per_hour),
        "empty" if line.empty_in == 0 else empty_in(burn),
    ]


def _tasks(figures: Figures, sort: str) -> list[Row]:
    def order(place: int) -> tuple[float | str, ...]:
        task = figures.tasks[place]
        waits = task.state != "running"
        match sort:
            case "waiting":
                return (not waits, task.since.timestamp())
            case "tokens":
                return (-(task.used.tokens or 0), task.task)
            case "name":
                return (task.task,)
        return (waits, task.since.timestamp(), task.task)

    found = []
    for place in sorted(range(len(figures.tasks)), key=order):
        task = figures.tasks[place]
        what = f"{task.agent_type}, {task.product}" + ("" if task.model is None else f", {task.model}")
        cells: list[Cell] = [
            one_line(task.task),
            {"waiting_on_dependencies": "depends"}.get(task.state, task.state),
            one_line(what if task.state == "running" else task.message or what),
            duration(max(0, int((figures.at - task.since).total_seconds()))),
            number(task.used.tokens),
            NONE if not (nanos := money(task.used.triple)[COST]) else amount(nanos, COST),
        ]
        found.append(Row(task.task, f"{task.task} {what} {task.state}", lambda cells=cells: cells))  # type: ignore[misc]
    return found


def _limits(figures: Figures, sort: str) -> list[Row]:
    found = figures.limits if sort == "taken" else sorted(figures.limits, key=lambda one: (one.limit, one.value or ""))
    return [
        Row(
            limit_id(one),
            f"{one.limit} {one.value or ''}",
            lambda one=one: [  # type: ignore[misc]
                one_line(one.limit),
                one_line(one.value or NONE),
                one.window,
                percent(one.percentage),
                amounts_of(one.used).partition("\n")[0],
                amounts_of(one.left).partition("\n")[0],
            ],
        )
        for one in found
    ]


def _alerts(figures: Figures, sort: str) -> list[Row]:
    rows = figures.alerts if sort == "oldest" else list(reversed(figures.alerts))
    return [
        Row(
            str(row.position),
            f"{row.code} {row.message}",
            lambda row=row: [shown_time(row.at), row.code, one_line(row.message)],  # type: ignore[misc]
        )
        for row in rows
    ]


def _events(figures: Figures, sort: str) -> list[Row]:
    lines = figures.events if sort == "oldest" else list(reversed(figures.events))
    return [
        Row(str(line.position), line.text, lambda line=line: [Text(line.text, style=line.style)])  # type: ignore[misc]
        for line in lines
    ]


_READERS: Final[dict[Panel, Callable[[Figures, str], list[Row]]]] = {
    "agents": _agents,
    "tasks": _tasks,
    "limits": _limits,
    "alerts": _alerts,
    "events": _events,
}


def head_of(figures: Figures, store: str, width: int) -> list[Text]:
    """The lines at the top: the fleet's budget, its pace, and what is in its way."""
    fleet, reply = figures.status.fleet, figures.queries.global_status()
    consumed, total = money(fleet.consumed.triple), fleet.total.triple
    used = ", ".join(
        amount(consumed[d], d) + ("" if total[d] is None else f" of {amount(total[d] or 0, d)}") + _UNITS[d]
        for d in (TOKENS, COST)
        if total[d] is not None or consumed[d]
    )
    left = fleet.pool.triple
    pool = ", ".join(f"{amount(units, d)}{_UNITS[d]}" for d in (TOKENS, COST) if (units := left[d]) is not None)
    overdraft = any(fleet.overdraft.triple)
    running = sum(task.state == "running" for task in figures.tasks)
    levels = ", ".join(f"{count:,} {level}" for level, count in figures.status.levels().items() if count)
    lines = [
        Text.assemble((one_line(store), "bold"), f"  {_now(figures.at)}  position {fleet.position:,}"),
        Text.assemble(("used ", "bold"), used or NONE, ("  pool ", "bold"), pool or NONE),
        Text.assemble(("burn ", "bold"), _burn(figures)),
        Text.assemble(
            ("agents ", "bold"),
            f"{reply.agent_count:,}" + (f": {levels}" if levels else ""),
            ("  tasks ", "bold"),
            f"{running:,} running, {len(figures.tasks) - running:,} waiting",
        ),
    ]
    wrong = [
        *(["overdraft"] if overdraft else []),
        *([f"paused: {fleet.why_paused}"] if reply.paused else []),
        *([f"breaker open: {figures.breaker}"] if figures.breaker is not None else []),
        *([f"response: {reply.response}"] if reply.response != "none" else []),
        *(f"{name} given up: {reason}" for name, reason in fleet.given_up.items()),
    ]
    lines.append(Text(one_line("; ".join(wrong)), style="bold red"))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _burn(figures: Figures) -> str:
    burn = figures.burn
    rate = f"{burn.tokens_per_hour:,} tokens/h, {in_cents(burn.cost_usd_per_hour)}/h"
    return rate if burn.empty_in_seconds is None else f"{rate}, empty in {empty_in(burn)} ({burn.empty_first})"


def _now(at: dt.datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}"
