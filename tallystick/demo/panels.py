"""The pieces of the live screen, each as lines of a width: nothing here knows of terminals or time."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from rich.table import Table
from rich.text import Text

from tallystick.config.amounts import COST, DIMENSIONS, TOKENS
from tallystick.config.amounts import percent as percent_of
from tallystick.demo.agent import Agent, Phase
from tallystick.demo.news import LEVEL_STYLES, Item
from tallystick.demo.tally import Frame
from tallystick.events import catalog as e
from tallystick.events.messages.command import PRIORITIES
from tallystick.projections.reports.cost import limits_of
from tallystick.projections.reports.task_day import TaskDay
from tallystick.projections.views.agent_rows import AgentRow
from tallystick.projections.views.cost import DayRow
from tallystick.projections.views.fleet import FleetRow
from tallystick.projections.views.task_rows import TaskRow
from tallystick.wording import DIMENSION_NAMES, compact, minutes_and_seconds, percent, short_amount

ACTION_STYLES: Final = {
    "continue": "green",
    "warn": "yellow",
    "throttle": "dark_orange",
    "degrade": "bold red",
    "stop": "bold white on red",
    "stop_all": "bold white on red",
    "none": "green",
}
USED, HELD, GRANTED, POOL, RESERVE, DEBT = "green", "cyan", "blue", "grey50", "magenta", "bold red"
_NAMES: Final = tuple(DIMENSION_NAMES.values())
_BLOCK: Final = "█"


class Balance(msgspec.Struct, frozen=True):
    """One dimension of the fleet in internal units. ``granted`` is with the agents, neither used nor held."""

    dimension: int
    total: int
    used: int
    held: int
    granted: int
    pool: int
    reserve: int
    overdraft: int


def balances(fleet: FleetRow) -> list[Balance]:
    """The dimensions that the fleet limits."""
    found = []
    rows = (fleet.total, fleet.consumed, fleet.held, fleet.pool, fleet.reserve, fleet.overdraft)
    for d in DIMENSIONS:
        if fleet.total.triple[d] is None:
            continue
        total, used, held, pool, reserve, overdraft = (row.triple[d] or 0 for row in rows)
        with_agents = max(0, total + overdraft - used - pool - reserve)
        held = min(held, with_agents)
        found.append(Balance(d, total, used, held, with_agents - held, pool, reserve, overdraft))
    return found


def balance_line(balance: Balance, width: int) -> Text:
    """``cost   ████████████████  $12.30 of $44.34``."""
    figures = f" {short_amount(balance.used, balance.dimension)} of {short_amount(balance.total, balance.dimension)}"
    line = Text().append(f"{_NAMES[balance.dimension]:<7}", style="bold")
    parts = (
        (balance.used, USED),
        (balance.held, HELD),
        (balance.granted, GRANTED),
        (balance.pool, POOL),
        (balance.reserve, RESERVE),
        (balance.overdraft, DEBT),
    )
    for cells, (_, style) in zip(_cells([part for part, _ in parts], width - 7 - 21), parts, strict=True):
        line.append(_BLOCK * cells, style=style)
    line.append(f"{figures:>21}")
    return line


def _cells(parts: Sequence[int], width: int) -> list[int]:
    """How many of ``width`` cells each part gets: its share, and one where it is something at all."""
    whole = sum(parts)
    if not whole or width <= 0:
        return [0] * len(parts)
    cells = [max(1, part * width // whole) if part > 0 else 0 for part in parts]
    largest = max(range(len(parts)), key=lambda i: cells[i])
    cells[largest] += width - sum(cells)
    return cells


def legend_line(balance: Balance, width: int) -> Text:
    """What the colours of the bars mean, with the shares of one of them."""
    line = Text().append(f"{_NAMES[balance.dimension]:<7}", style="dim")
    whole = balance.total + balance.overdraft
    named = (
        ("used", balance.used, USED),
        ("held", balance.held, HELD),
        ("with agents", balance.granted, GRANTED),
        ("pool", balance.pool, POOL),
        ("reserve", balance.reserve, RESERVE),
    )
    for name, units, style in named:
        line.append("■ ", style=style).append(f"{name} {percent_of(units, whole)} %  ", style="default")
    if balance.overdraft:
        line.append("■ overdraft", style=DEBT)
    line.truncate(width, overflow="ellipsis")
    return line


def bar(ratio: float, width: int, style: str) -> Text:
    """A small bar, full at 1."""
    full = min(width, int(ratio * width))
    return Text().append(_BLOCK * full, style=style).append("·" * (width - full), style="dim")


_SLOTS_SHOWN: Final = 40
_NEAR: Final = 80
"""From so many percent of a day's limit on, it is shown in another colour."""


def slots_line(frame: Frame, preempted: int, width: int) -> Text:
    """``slots  ■■■■■■■■·····  8 of 13  ·  5 wait``: a mark for each slot, in the colour of its run's level."""
    line = Text().append("slots  ", style="bold")
    agents, tasks = frame.status.agents, frame.tasks
    taken = [agents[task.task].level for task in tasks.running if task.task in agents]
    waiting, total = tasks.waiting, tasks.all_slots().limit
    if total is not None and total <= _SLOTS_SHOWN:
        for level in sorted(taken, key=e.LEVELS.index, reverse=True):
            line.append("■", style=LEVEL_STYLES[level].removesuffix(" on grey23"))
        line.append("·" * (total - len(taken)), style="dim").append("  ")
    line.append(f"{len(taken)} taken" if total is None else f"{len(taken)} of {total}")
    line.append("  ·  ", style="dim").append(f"{len(waiting)} wait", style="yellow" if waiting else "default")
    if waiting:
        longest = max(_seconds_waiting(tasks, task) for task in waiting)
        line.append(f", longest {minutes_and_seconds(longest)}")
    if preempted:
        line.append("  ·  ", style="dim").append(f"{preempted} preempted", style="magenta")
    line.truncate(width, overflow="ellipsis")
    return line


def _seconds_waiting(tasks: TaskDay, task: TaskRow) -> float:
    return (tasks.now - task.since).total_seconds()


def day_line(day: DayRow, width: int) -> Text:
    """``today  cost $12.30 of $20.00 (61 %)``, and whether the breaker is open."""
    line = Text().append("today  ", style="bold")
    limits = limits_of(day)
    for name, d, limit in (("cost", COST, limits[1]), ("tokens", TOKENS, limits[0])):
        used = day.used.triple[d] or 0
        if d == TOKENS and limit is None:
            continue
        line.append(f"{name} {short_amount(used, d)}")
        if limit is None:
            line.append(", without a limit  ")
            continue
        part = percent_of(used, limit)
        style = "bold red" if part >= 100 else "dark_orange" if part >= _NEAR else "green"
        line.append(f" of {short_amount(limit, d)} ").append(f"({part} %)  ", style=style)
    if day.breaker is not None:
        line.append("breaker open: nothing new starts", style="bold white on red")
    line.truncate(width, overflow="ellipsis")
    return line


def queue_table(tasks: TaskDay, needs: Mapping[str, int], pool: int | None, rows: int, width: int) -> Table:
    """The tasks that wait, and why: the highest priority first, and within it the one that has waited longest.

    ``needs`` are the tokens that a task's start takes from the pool, of which so many are free (None: no limit).
    """
    table = Table(box=None, padding=(0, 1, 0, 0), width=width, show_edge=False, show_header=False)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=3)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=2)
    table.add_column(width=8)
    table.add_column(justify="right", width=6)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=6)
    slots = tasks.all_slots().limit
    is_full = slots is not None and len(tasks.running) >= slots
    for task in sorted(tasks.waiting, key=_rank)[:rows]:
        why = task.message or (task.code or "").replace("_", " ")
        needed = needs.get(task.task, 0)
        if pool is not None and needed > pool and slots is not None and not is_full:
            # What was in its way when it was queued is not any more: there is a slot, and no budget.
            why = f"needs {compact(needed)}, pool has {compact(pool)}"
        table.add_row(
            task.task,
            task.product,
            Text(_priority(task), style="magenta" if _priority(task) == "critical" else "default"),
            minutes_and_seconds(_seconds_waiting(tasks, task)),
            Text(why, style="dim"),
        )
    return table


def _priority(task: TaskRow) -> str:
    return task.priority or "normal"


def _rank(task: TaskRow) -> tuple[int, dt.datetime]:
    return (PRIORITIES.index(_priority(task)), task.since)


def agents_table(agents: Sequence[tuple[Agent, AgentRow]], rows: int, width: int) -> Table:
    """The agents that matter most: those that are worst off first."""
    table = Table(box=None, padding=(0, 1, 0, 0), width=width, header_style="dim", show_edge=False)
    table.add_column("task", no_wrap=True, overflow="ellipsis", ratio=3)
    table.add_column("product", no_wrap=True, overflow="ellipsis", ratio=2)
    table.add_column("", width=12)
    table.add_column("used", justify="right", width=5)
    table.add_column("level", width=6)
    table.add_column("action", width=8)
    table.add_column("steps", justify="right", width=7)
    for agent, row in sorted(agents, key=_interest)[:rows]:
        ratio, level = row.percentage, row.level
        style = LEVEL_STYLES[level]
        crown = "* " if agent.run.priority == "critical" else ""
        table.add_row(
            Text().append(crown, style="magenta").append(agent.run.id, style="default"),
            agent.run.product or "",
            bar(ratio, 12, style.removesuffix(" on grey23")),
            percent(ratio),
            Text(level, style=style),
            Text(agent.action, style=ACTION_STYLES[agent.action]),
            f"{agent.done}/{len(agent.run.steps)}",
        )
    return table


def _interest(pair: tuple[Agent, AgentRow]) -> tuple[int, float, str]:
    agent, row = pair
    waits = agent.phase in (Phase.CHECK, Phase.BORROW)
    level = e.LEVELS.index(row.level)
    return (-max(level, e.ACTIONS.index(agent.action) if waits else 0), -row.percentage, agent.run.id)


def news_lines(items: Sequence[Item], rows: int, width: int) -> list[Text]:
    """The newest ``rows`` of the news, the newest last."""
    lines = []
    for item in items[-rows:] if rows > 0 else ():
        # A style given to the line itself would tint all that is appended.
        line = Text().append(f"{item.position:>6} {item.time} ", style="dim")
        line.append(item.text, style=item.style)
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return lines


def progress_line(done: int, whole: int, text: str, width: int) -> Text:
    """A bar over what is left of the width, and what it says."""
    line = Text()
    cells = max(0, width - len(text) - 1)
    full = done * cells // whole if whole else cells
    line.append("━" * full, style="green").append("━" * (cells - full), style="grey30")
    return line.append(" " + text)
