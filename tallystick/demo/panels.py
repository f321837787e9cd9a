"""The pieces of the live screen, each as lines of a width: nothing here knows of terminals or time."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from rich.table import Table
from rich.text import Text

from tallystick.config.amounts import COST, DIMENSIONS, EDGE_NAMES, TOKENS, exact_units
from tallystick.config.amounts import percent as percent_of
from tallystick.demo.agent import Agent, Phase
from tallystick.demo.news import LEVEL_STYLES, Item
from tallystick.demo.slots import Slots, Waiting
from tallystick.events import catalog as e
from tallystick.events.evolve.account_read_model import AccountModel
from tallystick.events.messages.command import PRIORITIES
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


def balances(status: dict[str, Any], standings: Iterable[AccountModel]) -> list[Balance]:
    """The limited dimensions of a `GetGlobalStatus`; what is held is summed over the open accounts."""
    held = [0, 0, 0]
    for standing in standings:
        for d in DIMENSIONS:
            held[d] += standing.held[d]
    found = []
    for d in DIMENSIONS:
        if EDGE_NAMES[d] not in status["total"]:
            continue
        names = ("total", "total_consumed", "pool_available", "reserve", "overdraft")
        total, used, pool, reserve, overdraft = (_units(status[name], d) for name in names)
        with_agents = max(0, total + overdraft - used - pool - reserve)
        found.append(
            Balance(d, total, used, min(held[d], with_agents), max(0, with_agents - held[d]), pool, reserve, overdraft)
        )
    return found


def _units(amounts: dict[str, Any], d: int) -> int:
    return exact_units(Decimal(str(amounts.get(EDGE_NAMES[d], 0))), d, EDGE_NAMES[d])


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


def slots_line(slots: Slots, standings: Mapping[str, AccountModel], width: int) -> Text:
    """``slots  ■■■■■■■■·····  8 of 13  ·  5 wait``: a mark for each slot, in the colour of its run's level."""
    line = Text().append("slots  ", style="bold")
    taken = [standings[task].level for task in slots.running if task in standings]
    total = slots.total
    if total is not None and total <= _SLOTS_SHOWN:
        for level in sorted(taken, reverse=True):
            line.append("■", style=LEVEL_STYLES[e.LEVELS[level]].removesuffix(" on grey23"))
        line.append("·" * (total - len(taken)), style="dim").append("  ")
    line.append(f"{len(taken)} taken" if total is None else f"{len(taken)} of {total}")
    line.append("  ·  ", style="dim").append(
        f"{len(slots.waiting)} wait", style="yellow" if slots.waiting else "default"
    )
    if slots.waiting:
        longest = max(slots.seconds_waiting(waiting) for waiting in slots.waiting.values())
        line.append(f", longest {minutes_and_seconds(longest)}")
    if slots.preempted:
        line.append("  ·  ", style="dim").append(f"{slots.preempted} preempted", style="magenta")
    line.truncate(width, overflow="ellipsis")
    return line


def day_line(slots: Slots, width: int) -> Text:
    """``today  cost $12.30 of $20.00 (61 %)``, and whether the breaker is open."""
    line = Text().append("today  ", style="bold")
    for name, d, limit in (("cost", COST, slots.limits[1]), ("tokens", TOKENS, slots.limits[0])):
        used = slots.used_today[d]
        if d == TOKENS and limit is None:
            continue
        line.append(f"{name} {short_amount(used, d)}")
        if limit is None:
            line.append(", without a limit  ")
            continue
        part = percent_of(used, limit)
        style = "bold red" if part >= 100 else "dark_orange" if part >= _NEAR else "green"
        line.append(f" of {short_amount(limit, d)} ").append(f"({part} %)  ", style=style)
    if slots.tripped:
        line.append("breaker open: nothing new starts", style="bold white on red")
    line.truncate(width, overflow="ellipsis")
    return line


def queue_table(slots: Slots, needs: Mapping[str, int], pool: int | None, rows: int, width: int) -> Table:
    """Who waits and why: the highest level first, and of a level who has waited longest.

    ``needs`` are the tokens that a task's start takes from the pool, of which so many are free (None: no limit).
    """
    table = Table(box=None, padding=(0, 1, 0, 0), width=width, show_edge=False, show_header=False)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=3)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=2)
    table.add_column(width=8)
    table.add_column(justify="right", width=6)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=6)
    for waiting in sorted(slots.waiting.values(), key=_rank)[:rows]:
        table.add_row(
            waiting.task,
            waiting.product,
            Text(waiting.priority, style="magenta" if waiting.priority == "critical" else "default"),
            minutes_and_seconds(slots.seconds_waiting(waiting)),
            Text(_why(slots, waiting, needs.get(waiting.task, 0), pool), style="dim"),
        )
    return table


def _why(slots: Slots, waiting: Waiting, needed: int, pool: int | None) -> str:
    """What was said when it was queued, unless there are slots now and no tokens."""
    if pool is None or needed <= pool or slots.total is None or len(slots.running) >= slots.total:
        return waiting.why
    return f"needs {compact(needed)}, pool has {compact(pool)}"


def _rank(waiting: Waiting) -> tuple[int, Any]:
    return (PRIORITIES.index(waiting.priority), waiting.since)


def agents_table(agents: Sequence[tuple[Agent, AccountModel]], rows: int, width: int) -> Table:
    """The agents that matter most: those that are worst off first."""
    table = Table(box=None, padding=(0, 1, 0, 0), width=width, header_style="dim", show_edge=False)
    table.add_column("task", no_wrap=True, overflow="ellipsis", ratio=3)
    table.add_column("product", no_wrap=True, overflow="ellipsis", ratio=2)
    table.add_column("", width=12)
    table.add_column("used", justify="right", width=5)
    table.add_column("level", width=6)
    table.add_column("is told", width=8)
    table.add_column("steps", justify="right", width=7)
    for agent, standing in sorted(agents, key=_interest)[:rows]:
        ratio, level = standing.ratio(), e.LEVELS[standing.level]
        style = LEVEL_STYLES[level]
        crown = "* " if agent.run.priority == "critical" else ""
        table.add_row(
            Text().append(crown, style="magenta").append(agent.run.id, style="default"),
            agent.run.product or "",
            bar(ratio, 12, style.removesuffix(" on grey23")),
            percent(ratio),
            Text(level, style=style),
            Text(agent.told, style=ACTION_STYLES[agent.told]),
            f"{agent.done}/{len(agent.run.steps)}",
        )
    return table


def _interest(pair: tuple[Agent, AccountModel]) -> tuple[int, float, str]:
    agent, standing = pair
    waits = agent.phase in (Phase.CHECK, Phase.BORROW)
    return (-max(standing.level, e.ACTIONS.index(agent.told) if waits else 0), -standing.ratio(), agent.run.id)


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
