"""The pieces of the live screen, each as lines of a width: nothing here knows of terminals or time."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from rich.table import Table
from rich.text import Text

from tallystick.demo.agent import Agent, Phase
from tallystick.demo.news import LEVEL_STYLES, Item, compact
from tallystick.events import catalog as e
from tallystick.events.amounts import DIMENSIONS, EDGE_NAMES, TIME, TOKENS, cents, exact_units, percent
from tallystick.events.standing import Standing

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
_NAMES: Final = ("tokens", "time", "cost")
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


def balances(status: dict[str, Any], standings: Iterable[Standing]) -> list[Balance]:
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


def in_words(units: int, d: int) -> str:
    """An amount of one dimension for a narrow place."""
    if d == TOKENS:
        return compact(units)
    return f"{units // 1000:,} s" if d == TIME else cents(units)


def balance_line(balance: Balance, width: int) -> Text:
    """``cost   ████████████████  $12.30 of $44.34``."""
    figures = f" {in_words(balance.used, balance.dimension)} of {in_words(balance.total, balance.dimension)}"
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


def legend_line(balance: Balance) -> Text:
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
        line.append("■ ", style=style).append(f"{name} {percent(units, whole)} %  ", style="default")
    if balance.overdraft:
        line.append("■ overdraft", style=DEBT)
    return line


def bar(ratio: float, width: int, style: str) -> Text:
    """A small bar, full at 1."""
    full = min(width, int(ratio * width))
    return Text().append(_BLOCK * full, style=style).append("·" * (width - full), style="dim")


def agents_table(agents: Sequence[tuple[Agent, Standing]], rows: int, width: int) -> Table:
    """The agents that matter most: those that are worst off first."""
    table = Table(box=None, padding=(0, 1, 0, 0), width=width, header_style="dim", show_edge=False)
    table.add_column("agent", no_wrap=True, overflow="ellipsis", ratio=3)
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
            f"{int(ratio * 100)} %",
            Text(level, style=style),
            Text(agent.told, style=ACTION_STYLES[agent.told]),
            f"{agent.done}/{len(agent.run.steps)}",
        )
    return table


def _interest(pair: tuple[Agent, Standing]) -> tuple[int, float, str]:
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
