"""What came of it: for whom the budget was too small, what the fleet did about it, and whether all of it adds up."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, Triple, dollars, edge, seconds
from tallystick.config.settings import Config
from tallystick.demo.agent import Outcome
from tallystick.demo.campaign import Campaign
from tallystick.demo.proof import Proof, prove
from tallystick.demo.screen import percentile
from tallystick.demo.slot_use import SlotUse, slot_use
from tallystick.demo.tally import Moved, Tally
from tallystick.demo.worker import Worker
from tallystick.demo.workload import Workload
from tallystick.events.log.store import Store
from tallystick.events.messages.command import PRIORITIES
from tallystick.events.state.money import money
from tallystick.projections.reports.cost import limits_of
from tallystick.projections.reports.status import Status
from tallystick.projections.reports.utilization import Quality, quality
from tallystick.projections.views.cost import DayRow
from tallystick.projections.views.fleet import FleetRow

LEVELS_REACHED: Final = ("yellow", "orange", "red", "black")


class Summary(msgspec.Struct, frozen=True):
    """All that is shown at the end. ``status`` is the fleet's own `GetGlobalStatus`, asked last."""

    workload: Workload
    config: Config
    agents: Sequence[Worker]
    tally: Tally
    slots: SlotUse
    day: DayRow
    status: Mapping[str, Any]
    interrupted: bool
    messages: int
    seconds: float
    took: list[float]
    proof: Proof
    quality: Quality | None
    """None where the log cannot be trusted."""
    store: str

    @property
    def left_out(self) -> list[Worker]:
        """Those for whom the budget was too small, the one that lacked most first."""
        without = [agent for agent in self.agents if agent.outcome in (Outcome.STOPPED, Outcome.REFUSED)]
        return sorted(without, key=lambda agent: (-agent.lacked[0], agent.run.id))

    @property
    def spendable(self) -> Triple:
        """``total - reserve``, as configured."""
        total = self.config.total_budget.amounts
        part = 1 - Decimal(self.config.emergency_reserve_percent) / 100
        tokens, time_ms, cost = (None if total[d] is None else int((total[d] or 0) * part) for d in DIMENSIONS)
        return (tokens, time_ms, cost)

    def count(self, outcome: Outcome) -> int:
        return sum(agent.outcome is outcome for agent in self.agents)


def summarize(
    workload: Workload, config: Config, campaign: Campaign, tally: Tally, status: Mapping[str, Any], store: Store
) -> Summary:
    """Read the store again, prove it, and put everything together."""
    proof, frame = prove(store, campaign.reported), tally.frame()
    slots = frame.tasks.all_slots().limit
    return Summary(
        workload=workload,
        config=config,
        agents=campaign.agents,
        tally=tally,
        slots=slot_use(tally.views, slots, tally.first_start, frame.status.fleet.at),
        day=frame.day,
        status=status,
        interrupted=campaign.count(Outcome.RUNNING) > 0,
        messages=campaign.messages,
        seconds=campaign.seconds,
        took=campaign.took,
        proof=proof,
        quality=_spread(frame.status, workload, config) if proof.problem is None else None,
        store=store.named,
    )


def _spread(status: Status, workload: Workload, config: Config) -> Quality:
    """The quality of the spread over all accounts, each closed one as it stood before its release."""
    rows = [row for run in workload.runs if (row := status.agent(run.id)) is not None]
    weights: dict[str, Decimal] = {priority: config.allocation_weights.of(priority) for priority in PRIORITIES}
    # The fleet's own row has the closed accounts in its sums; here each of them is a row itself.
    return quality(FleetRow(), rows, weights)


def for_machines(summary: Summary, try_next: Sequence[str]) -> dict[str, Any]:
    """The summary as one JSON document, in the names and units of every other edge."""
    tally, proof = summary.tally, summary.proof
    return {
        "workload": {
            "title": summary.workload.title,
            "note": summary.workload.note,
            "runs": len(summary.agents),
            "steps": summary.workload.steps,
            "needs": edge(summary.workload.needs),
        },
        "interrupted": summary.interrupted,
        "runs": {outcome.value.replace(" ", "_"): summary.count(outcome) for outcome in Outcome},
        "tasks": _tasks(summary),
        "today": _today(summary.day),
        "alerts": dict(tally.alerts),
        "steps_done": sum(agent.done for agent in summary.agents),
        "too_small_for": [_left_out(agent) for agent in summary.left_out],
        "levels_reached": {level: tally.reached(level) for level in LEVELS_REACHED},
        "warned_early": len(tally.warned_early),
        "throttled_seconds": seconds(sum(agent.throttled_ms for agent in summary.agents)),
        "stopped_seconds": seconds(sum(agent.stopped_ms for agent in summary.agents)),
        "responses": tally.responses,
        "refused": dict(tally.refused),
        **{name: _times(tally.moved(name)) for name in ("reclaimed_from_idle", "topped_up_on_demand", "borrowed")},
        **{how: edge(tally.moved(how).amount) for how in ("given_back_when_stopped", "restored_after_stop")},
        "unused_at_release": edge(tally.moved("unused_at_release").amount),
        "overruns_covered": _times(tally.moved("overruns_covered")),
        **{how: edge(tally.moved(how).amount) for how in ("taken_from_reserve", "taken_as_overdraft")},
        "fleet": {name: summary.status[name] for name in _FLEET},
        "quality": None if summary.quality is None else msgspec.to_builtins(summary.quality),
        "consumed_of_spendable": consumed_of_spendable(summary),
        "messages": summary.messages,
        "events": tally.events,
        "seconds": round(summary.seconds, 3),
        "events_per_second": round(tally.events / max(summary.seconds, 0.001), 1),
        "reply_ms": {
            name: round(percentile(summary.took, part) * 1000, 3) for name, part in (("p50", 0.5), ("p99", 0.99))
        },
        "proof": {
            "accounted_for": proof.problem is None,
            "problem": proof.problem,
            **{name: edge(getattr(proof, name)) for name in ("reported", "priced", "recorded", "ledger")},
            "position": proof.position,
            "digest": proof.digest,
        },
        "store": summary.store,
        "try_next": list(try_next),
    }


_FLEET: Final = ("total", "total_consumed", "pool_available", "reserve", "overdraft", "pressure", "response")


def consumed_of_spendable(summary: Summary) -> dict[str, float]:
    """What was used of ``total - reserve``, by limited dimension, to 6 places."""
    used, spendable = summary.proof.ledger, summary.spendable
    return {EDGE_NAMES[d]: round(used[d] / whole, 6) for d in DIMENSIONS if (whole := spendable[d])}


def _times(moved: Moved) -> dict[str, Any]:
    return {"times": moved.times, **edge(moved.amount)}


def _tasks(summary: Summary) -> dict[str, Any]:
    """What became of the tasks, and how they waited: minutes to 2 places, shares to 4."""
    slots = summary.slots
    ran = len(slots.waited_ms)
    return {
        "slots": slots.slots,
        "slot_utilization": None if slots.utilization is None else round(slots.utilization, 4),
        **{ended: slots.ended[ended] for ended in ("completed", "failed", "cancelled", "rejected")},
        "preempted": summary.tally.kinds["TaskPreempted"],
        "waited": slots.that_waited,
        "tasks_that_waited": round(slots.that_waited / ran, 4) if ran else None,
        "avg_wait_time_minutes": round(slots.average_wait_ms / 60_000, 2),
        "max_wait_time_minutes": round(slots.longest_wait_ms / 60_000, 2),
    }


def _today(day: DayRow) -> dict[str, Any]:
    """The day against its limits; None is no limit."""
    tokens, cost = limits_of(day)
    return {
        "used": edge(money(day.used.triple)),
        "limits": {"tokens": tokens, "cost_usd": None if cost is None else dollars(cost)},
        "breaker_open": day.breaker is not None,
    }


def _left_out(agent: Worker) -> dict[str, Any]:
    return {
        "agent": agent.run.id,
        "product": agent.run.product,
        "priority": agent.run.priority,
        "outcome": agent.outcome.value,
        "steps_done": agent.done,
        "steps": len(agent.run.steps),
        "lacked": edge(agent.lacked),
    }
