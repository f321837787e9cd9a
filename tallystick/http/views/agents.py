"""The open agents, a window of them at a time: as a tree or as a list, in any order, by what they are called."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from tallystick.events.catalog import LEVELS
from tallystick.events.state.money import money
from tallystick.http.views.state import State
from tallystick.projections.views.agent_rows import AgentRow
from tallystick.reports.status import agent_json

WINDOW_MAX: Final = 200
"""Agents in one answer."""
_NEVER: Final = 10**12

Key = Callable[[AgentRow], Any]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which agents: ``count`` of them behind the first ``after``, in an ``order``.

    ``tree``: below their parents, but for what lies below one of ``folded``. ``search`` finds a part of the id, the
    product or the type, and ``level`` those that are at it; what is found is a list, without a tree.
    """

    order: str = "use"
    after: int = 0
    count: int = 100
    tree: bool = True
    folded: tuple[str, ...] = ()
    search: str = ""
    level: str = ""


class _Placed(NamedTuple):
    row: AgentRow
    depth: int
    children: int


ORDERS: Final = ("use", "name", "tokens", "cost", "burn", "empty")


def window(state: State, asked: Asked) -> dict[str, Any]:
    """The window, and how many there are in all.

    Raises:
        ValueError: there is no such order or level.
    """
    if asked.order not in ORDERS:
        raise ValueError(f"order: found {asked.order!r:.100}, allowed are {', '.join(ORDERS)}")
    if asked.level and asked.level not in LEVELS:
        raise ValueError(f"level: found {asked.level!r:.100}, allowed are {', '.join(LEVELS)}")
    agents = state.found.agents
    key = _key(state, asked.order)
    if asked.search or asked.level:
        found = sorted((row for row in agents.values() if _fits(row, asked)), key=key)
        placed = [_Placed(row, 0, 0) for row in found]
    elif asked.tree:
        placed = list(_tree(agents, key, frozenset(asked.folded)))
    else:
        placed = [_Placed(row, 0, 0) for row in sorted(agents.values(), key=key)]
    first = max(0, asked.after)
    shown = placed[first : first + min(max(0, asked.count), WINDOW_MAX)]
    return {
        "position": state.position,
        "agents": len(agents),
        "rows": len(placed),
        "after": first,
        "shown": [_shown(state, one) for one in shown],
    }


def _shown(state: State, one: _Placed) -> dict[str, Any]:
    burn = msgspec.to_builtins(state.pace.agent(one.row))
    return {**agent_json(one.row, state.queries), "burn": burn, "depth": one.depth, "children": one.children}


def _fits(row: AgentRow, asked: Asked) -> bool:
    words = asked.search.lower()
    names = (row.agent, row.product or "", row.agent_type or "")
    return (not words or any(words in name.lower() for name in names)) and asked.level in ("", row.level)


def _key(state: State, order: str) -> Key:
    """What comes first: most of it, and of equals in the order of their ids."""
    match order:
        case "name":
            return lambda row: row.agent
        case "tokens":
            return lambda row: (-money(row.consumed.triple)[0], row.agent)
        case "cost":
            return lambda row: (-money(row.consumed.triple)[2], row.agent)
        case "burn":
            return lambda row: (-state.pace.agent(row).tokens_per_hour, row.agent)
        case "empty":
            return lambda row: (_lasts(state, row), row.agent)
    return lambda row: (-row.percentage, row.agent)


def _lasts(state: State, row: AgentRow) -> int:
    seconds = state.pace.agent(row).empty_in_seconds
    return _NEVER if seconds is None else seconds


def _tree(agents: Mapping[str, AgentRow], key: Key, folded: frozenset[str]) -> Iterator[_Placed]:
    """Parents before their children, which are in order among themselves."""
    below: dict[str | None, list[AgentRow]] = {}
    for row in agents.values():
        below.setdefault(row.parent if row.parent in agents else None, []).append(row)
    open_rows = [(row, 0) for row in sorted(below.get(None, ()), key=key)][::-1]
    while open_rows:
        row, depth = open_rows.pop()
        children = below.get(row.agent, ())
        yield _Placed(row, depth, len(children))
        if children and row.agent not in folded:
            open_rows += [(child, depth + 1) for child in sorted(children, key=key)][::-1]
