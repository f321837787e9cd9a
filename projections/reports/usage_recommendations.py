"""What a report recommends, computed from what was measured; each recommendation carries its numbers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, cents, dollars, percent, seconds
from tallystick.events.state.money import ZERO, Money, money, plus
from tallystick.projections.reports.agent_usage import AgentUsage
from tallystick.projections.reports.recommendation import Recommendation
from tallystick.projections.views.agent_rows import RELEASED
from tallystick.projections.views.fleet import FleetRow

ENOUGH: Final = 5
"""So many agents of a type must have finished before a recommendation is made for the type."""
NEEDED_BY_MOST: Final = 90
"""An allocation should be enough for this percentage of the agents that finished."""
TOO_MUCH: Final = 60
"""Below this percentage of the allocation at that percentile, the allocation is called too large."""
TOO_FEW: Final = 20
"""From this percentage of the agents running out on, the allocation is called too small."""
WORTH_NAMING: Final = 5
"""Overruns below this percentage of what was used are not named."""

_CAUSES: Final = {
    "under_estimate": "agents used more than they were allocated",
    "late_report": "usage was reported after the release, or after the hold had ended",
    "unpriced_model": "models had no price, and the most expensive of their family was charged",
}


def usage_recommendations(fleet: FleetRow, lines: Sequence[AgentUsage]) -> list[Recommendation]:
    """All that stands out, the most costly kinds first."""
    return [*_sizes(lines), *_overruns(lines), *_warnings(lines), *_refusals(lines), *_loops(lines), *_unpriced(fleet)]


def _sizes(lines: Sequence[AgentUsage]) -> Iterator[Recommendation]:
    """Allocations that are too large or too small for their agent type."""
    types: dict[str, list[AgentUsage]] = {}
    for line in lines:
        if line.row.state == RELEASED and line.row.reports:
            types.setdefault(line.row.agent_type or "agents without a type", []).append(line)
    for agent_type, group in sorted(types.items()):
        if len(group) < ENOUGH:
            continue
        for d in DIMENSIONS:
            yield from _size(agent_type, group, d)


def _size(agent_type: str, group: Sequence[AgentUsage], d: int) -> Iterator[Recommendation]:
    given = [(limit, line.consumed[d]) for line in group if (limit := line.allocated[d])]
    if len(given) < ENOUGH:
        return
    needed = _percentile([used for _, used in given], NEEDED_BY_MOST)
    usual = _percentile([limit for limit, _ in given], 50)
    ran_out = sum(used >= limit for limit, used in given)
    numbers = {
        "agent_type": agent_type,
        "dimension": EDGE_NAMES[d],
        "agents": len(given),
        "ran_out": ran_out,
        "allocated_median": _number(usual, d),
        "used_p90": _number(needed, d),
    }
    if percent(ran_out, len(given)) >= TOO_FEW:
        text = (
            f"{agent_type}: {ran_out} of {len(given)} agents used up their {_plain(usual, d)};"
            f" {_plain(needed, d)} would have been enough for nine in ten"
        )
        yield Recommendation("allocation_too_small", text, numbers)
    elif percent(needed, usual) < TOO_MUCH:
        text = (
            f"{agent_type}: nine in ten of {len(given)} agents used {_plain(needed, d)} or less of the"
            f" {_plain(usual, d)} that they were allocated; allocate less"
        )
        yield Recommendation("allocation_too_large", text, numbers)


def _overruns(lines: Sequence[AgentUsage]) -> Iterator[Recommendation]:
    consumed = ZERO
    causes: dict[str, Money] = {}
    for line in lines:
        consumed = plus(consumed, line.consumed)
        for cause, amount in line.story.overruns.items():
            causes[cause] = plus(causes.get(cause, ZERO), money(amount.triple))
    for cause, units in sorted(causes.items()):
        for d in DIMENSIONS:
            share = percent(units[d], consumed[d])
            if units[d] and share >= WORTH_NAMING:
                text = (
                    f"{_plain(units[d], d)} ({share} % of what was used) was covered by other budgets:"
                    f" {_CAUSES.get(cause, cause)}"
                )
                numbers = {
                    "cause": cause,
                    "dimension": EDGE_NAMES[d],
                    "covered": _number(units[d], d),
                    "percent": share,
                }
                yield Recommendation("overruns", text, numbers)


def _warnings(lines: Iterable[AgentUsage]) -> Iterator[Recommendation]:
    stops = warned = 0
    for line in lines:
        stops, warned = stops + line.story.stops, warned + line.story.stops_warned
    if stops and percent(warned, stops) < 90:
        text = (
            f"{warned} of {_counted(stops, 'stop')} warned of a minute ahead: report more often, or raise"
            " enforcement.warn_before_exhaustion_seconds"
        )
        yield Recommendation("stops_not_foreseen", text, {"stops": stops, "warned": warned})


def _refusals(lines: Iterable[AgentUsage]) -> Iterator[Recommendation]:
    codes: Counter[str] = Counter()
    for line in lines:
        codes.update(line.story.refusals)
    if codes["pool_exhausted"]:
        count = codes["pool_exhausted"]
        text = f"{_counted(count, 'request')} for budget refused because the pool could not give it: raise the total"
        yield Recommendation("pool_short", text, {"pool_exhausted": count})
    if codes["budget_exhausted"]:
        count = codes["budget_exhausted"]
        text = (
            f"{_counted(count, 'hold')} refused because the budget could not cover them:"
            " ask for less at a time, or allocate more"
        )
        yield Recommendation("holds_refused", text, {"budget_exhausted": count})


def _loops(lines: Iterable[AgentUsage]) -> Iterator[Recommendation]:
    found = [line.row.agent for line in lines if any(mark.what == "loop" for mark in line.story.marks)]
    if found:
        named = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        text = f"{named} used the same amount step after step: check whether they repeat themselves"
        yield Recommendation("loops", text, {"agents": found})


def _unpriced(fleet: FleetRow) -> Iterator[Recommendation]:
    for model, cost_nanos in sorted(fleet.unpriced.items()):
        text = f"{model} has no price: {cents(cost_nanos)} is a guess until prices.yml names it"
        yield Recommendation("unpriced_model", text, {"model": model, "cost_usd": dollars(cost_nanos)})


def _percentile(values: Sequence[int], share: int) -> int:
    """The smallest value that ``share`` percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _number(units: int, d: int) -> Any:
    return (units, seconds(units), dollars(units))[d]


def _plain(units: int, d: int) -> str:
    return (f"{units:,} tokens", f"{seconds(units):,} s", cents(units))[d]
