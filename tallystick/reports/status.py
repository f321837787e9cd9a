"""How the fleet and its agents stand, as `tallystick status --json` and the dashboard say it."""

from collections.abc import Iterator
from typing import Any

import msgspec

from tallystick.config.amounts import dollars
from tallystick.config.limits import AccountLimit
from tallystick.events.decide.answers import stamp
from tallystick.events.messages.replies import GlobalStatus, shown
from tallystick.projections.reports.burn import Pace
from tallystick.projections.reports.cost import Costs
from tallystick.projections.reports.query_adapter import QueryAdapter
from tallystick.projections.reports.status import Status
from tallystick.projections.reports.task_day import TaskDay
from tallystick.projections.views.agent_rows import AgentRow


def status_json(
    found: Status, queries: QueryAdapter, work: TaskDay, costs: Costs, pace: Pace, limit: int | None
) -> dict[str, Any]:
    """The whole of it, with the ``limit`` most used agents; None: all."""
    tasks = {"tasks_running": len(work.running), "tasks_waiting": len(work.waiting)}
    more = {"breaker": costs.breaker, "burn": msgspec.to_builtins(pace.fleet())}
    return fleet_json(found, queries, limit) | tasks | more


def fleet_json(found: Status, queries: QueryAdapter, limit: int | None) -> dict[str, Any]:
    """`GetGlobalStatus` with the ``limit`` most used agents, and what else a fleet's screen says."""
    fleet, quality = found.fleet, found.quality
    reply: GlobalStatus = queries.global_status()
    reply.agent_statuses = [queries.budget_status(row.agent) for row in found.by_use()[:limit]]
    return {
        **msgspec.to_builtins(reply),
        "at": stamp(fleet.at),
        "agents_by_level": found.levels(),
        "agents_released": fleet.agents_released,
        "period_ends_at": None if fleet.period_ends_at is None else stamp(fleet.period_ends_at),
        "alerts": fleet.alerts,
        "unpriced": {model: dollars(cost_nanos) for model, cost_nanos in sorted(fleet.unpriced.items())},
        "unallocated": [agent_json(row, None) for row in found.unallocated],
        "utilization": quality.utilization,
        "fairness": quality.fairness,
        "jain": quality.jain,
    }


def agent_json(row: AgentRow, queries: QueryAdapter | None) -> dict[str, Any]:
    """`GetStatus` and the row's times; what only an open account has is null without ``queries``."""
    if queries is not None:
        answered: dict[str, Any] = msgspec.to_builtins(queries.budget_status(row.agent))
    else:
        plain = ("agent", "agent_type", "product", "workflow", "priority", "parent", "state")
        answered = {name: getattr(row, name) for name in plain}
        for name in ("allocated", "delegated", "consumed", "held", "borrowed", "overrun", "remaining"):
            answered[name] = shown(getattr(row, name).triple)
        answered |= {"percentage": row.percentage, "status": row.level}
        answered |= dict.fromkeys(("action", "decided_by", "throttle_rate", "idle_seconds", "obstacles"))
    times = {name: getattr(row, name) for name in ("opened_at", "last_report_at", "released_at")}
    answered |= {name: None if at is None else stamp(at) for name, at in times.items()}
    if row.limits:
        answered["limits"] = [{"limit": name, **msgspec.to_builtins(one)} for name, one in limits_of_account(row)]
    return {**answered, "reports": row.reports, "late": shown(row.late.triple)}


def limits_of_account(row: AgentRow) -> Iterator[tuple[str, AccountLimit]]:
    """The limits of an account, by name."""
    for number, limit in enumerate(row.limits, start=1):
        yield f"{row.agent}/{number}", limit
