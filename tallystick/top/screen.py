"""The screen: as many lines as the terminal has, drawn anew when a key was pressed or the figures are new."""

import json
from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tallystick.cli.burning import rate
from tallystick.top.figures import Details, Figures
from tallystick.top.rows import COLUMNS, Row, head_of, rows_of
from tallystick.top.state import PANELS, Panel, State
from tallystick.wording import one_line, rounded_amounts

_FRAME: Final = 8
"""Lines that are no rows: the head, the panels' names, the headings, and the keys."""
_NEWS: Final = 6
"""Lines of the newest events below another panel, where the terminal has room."""
_ROOM_FOR_NEWS: Final = 22
_KEYS: Final = " 1-5 panels  s sort  / filter  Enter open  ? help  q quit"
_HELP: Final = """\
1 to 5, Tab     agents, tasks, limits, alerts, events
up, down, j, k  select; Page Up, Page Down, Home, End
Enter           open the row: what is known of it, and its events
Escape          back; ends a filter
s, r            sort by the next column; the other way round
/               filter: type, then Enter; Escape ends it
space           hold the screen still, and let it go on
q, Ctrl-C       quit

Agents are sorted by when they are empty at the rate of the last 15 minutes.
"""


def page_of(height: int, panel: Panel) -> int:
    """How many rows a panel shows on a terminal of so many lines."""
    return max(1, height - _FRAME - (_NEWS if _has_news(height, panel) else 0))


def _has_news(height: int, panel: Panel) -> bool:
    return height >= _ROOM_FOR_NEWS and panel != "events"


class Drawn:
    """What is drawn, and the rows that keys move in."""

    def __init__(self, figures: Figures | None, state: State, store: str, width: int, height: int) -> None:
        self.ids: list[str] = []
        self.page = page_of(height, state.panel)
        if figures is None:
            self.lines: list[RenderableType] = [Text(one_line(f"reading {store} …"))]
            return
        rows = rows_of(figures, state)
        self.ids = [row.id for row in rows]
        room = height - _FRAME + 1
        if state.is_help:
            body: list[RenderableType] = [Text(line[:width]) for line in _HELP.splitlines()[:room]]
        elif state.opened is not None:
            body = _opened(figures, state, width, room)
        else:
            news = _news(figures, width) if _has_news(height, state.panel) else []
            gap = [Text("")] * (room - 1 - min(self.page, len(rows)) - len(news))
            body = [_table(rows, state, self.page, width), *gap, *news]
            room = len(body)
        body += [Text("")] * (room - len(body))
        keys = Text(_KEYS[:width], style="dim")
        self.lines = [*head_of(figures, store, width), _title(state, len(rows), width), *body, keys]

    def __rich__(self) -> Group:
        return Group(*self.lines)


def _title(state: State, count: int, width: int) -> Text:
    title = Text()
    for number, panel in enumerate(PANELS, start=1):
        title.append(f" {number} {panel} ", style="reverse" if panel == state.panel else "dim")
    title.append(f" {count:,} by {state.sort}" + (", reversed" if state.reversed else ""))
    if state.is_typing or state.filter:
        title.append(f"  /{state.filter}" + ("_" if state.is_typing else ""), style="bold")
    if state.is_paused:
        title.append("  held still", style="bold yellow")
    title.truncate(width, overflow="ellipsis")
    return title


def _table(rows: Sequence[Row], state: State, page: int, width: int) -> Table:
    place = state.place([row.id for row in rows])
    first = max(0, min(place - page // 2, len(rows) - page))
    table = Table(box=None, padding=(0, 1), pad_edge=False, width=width, header_style="underline")
    for column in COLUMNS[state.panel]:
        table.add_column(
            column.name,
            justify="right" if column.is_figure else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if column.grows else None,
        )
    for number, row in enumerate(rows[first : first + page], start=first):
        cells = [cell if isinstance(cell, Text) else Text(cell) for cell in row.cells()]
        table.add_row(*cells, style="reverse" if number == place else "")
    return table


def _news(figures: Figures, width: int) -> list[RenderableType]:
    lines: list[RenderableType] = [Text("")]
    for event in figures.events[1 - _NEWS :]:
        line = Text(event.text, style=event.style, no_wrap=True)
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return lines


def _opened(figures: Figures, state: State, width: int, height: int) -> list[RenderableType]:
    assert state.opened is not None
    details = figures.details
    if details is None or details.opened != state.opened:
        return [Text("reading …")]
    lines = [*_facts(figures, details), *(Text(event.text, style=event.style) for event in details.events)]
    first = max(0, min(state.scrolled, len(lines) - height))
    shown = lines[first : first + height]
    for line in shown:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return list(shown)


def _facts(figures: Figures, details: Details) -> list[Text]:
    panel, id = details.opened
    if panel == "agents":
        return _agent(figures, id)
    if panel == "tasks":
        task = next((one for one in figures.tasks if one.task == id), None)
        if task is None:
            return [Text(one_line(f"{id} is open no more")), Text("")]
        facts = [
            ("task", task.task),
            ("state", task.state),
            ("what", f"{task.agent_type}, {task.product}, {task.model or 'no model yet'}"),
            ("priority", task.priority or "medium"),
            ("run", str(task.runs)),
            ("used", rounded_amounts(task.used.triple)),
            ("why", task.message or "nothing is in its way"),
        ]
        return _pairs(facts)
    text = json.dumps(details.facts, indent=2, ensure_ascii=False)
    return [Text(one_line(line)) for line in text.splitlines()]


def _agent(figures: Figures, id: str) -> list[Text]:
    line = next((one for one in figures.agents if one.row.agent == id), None)
    if line is None:
        return [Text(one_line(f"{id} is open no more")), Text("")]
    row, reply = line.row, figures.queries.budget_status(id)
    labels = ", ".join(filter(None, (row.agent_type, row.product, row.workflow, row.priority))) or "no labels"
    facts = [
        ("agent", f"{row.agent} ({labels})"),
        ("allocated", rounded_amounts(row.allocated.triple)),
        ("consumed", rounded_amounts(row.consumed.triple)),
        ("held", rounded_amounts(row.held.triple)),
        ("remaining", rounded_amounts(row.remaining.triple)),
        ("level", f"{row.level}, {reply.action} (decided by {reply.decided_by})"),
        ("burn rate", rate(line.burn)),
        *(("in the way", f"{one.code}: {one.detail}") for one in reply.obstacles or ()),
    ]
    return _pairs(facts)


def _pairs(facts: Sequence[tuple[str, str]]) -> list[Text]:
    return [*(Text.assemble((f"{name:<12}", "bold"), one_line(value)) for name, value in facts), Text("")]
