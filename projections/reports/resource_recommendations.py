"""What to change about slots, estimates and models, computed from what was measured today; each with its numbers."""

from collections.abc import Iterable, Iterator
from typing import Final

from tallystick.config.amounts import cents, dollars, percent
from tallystick.events.state.estimates import GOOD
from tallystick.projections.reports.model_comparison import Saving
from tallystick.projections.reports.recommendation import Recommendation
from tallystick.projections.reports.task_day import Slots, TaskDay, minutes
from tallystick.projections.views.task_rows import ModelRow

UNDER_USED: Final = 50
"""Below this percentage of its slot-time a type is called underutilized; seed 000 calls 45 % so."""
WELL_USED: Final = 60
"""From this percentage on its utilization is called good; seed 000 calls 75 % so."""
FULL: Final = 90
"""From this percentage on a limit is called full, if tasks waited for it."""
ENOUGH_MS: Final = 3_600_000
"""A day that is younger says nothing about utilization."""
ENOUGH: Final = 5
"""Tasks of a type that must be completed before anything is said of its estimates."""
WORTH_NAMING: Final = 5
"""A cheaper model is not named where it saves less than this percentage."""


def resource_recommendations(work: TaskDay) -> list[Recommendation]:
    """All that stands out today: slots, waits, estimates, models."""
    return [*_slots(work), *_waits(work), *_estimates(work), *_models(work.models)]


# --- slots ------------------------------------------------------------------------------------------------------------


def _slots(work: TaskDay) -> Iterator[Recommendation]:
    """Types with a limit of their own: too many slots, too few, or as many as are used."""
    well: dict[str, int] = {}
    for agent_type, slots in work.slots().items():
        share = _percent_busy(slots)
        if share is None or not slots.is_own or slots.limit is None:
            continue
        waited = sum(lot.obstacles.get("type_concurrency", 0) for lot in work.lots if lot.agent_type == agent_type)
        numbers = {"agent_type": agent_type, "limit": slots.limit, "busy_percent": share, "waited": waited}
        if share < UNDER_USED and slots.limit > 1 and slots.busy_ms and not waited:
            text = f"Consider reducing the {agent_type} limit of {slots.limit} (underutilized: {share} % busy)"
            yield Recommendation("limit_too_high", text, numbers)
        elif share >= FULL and waited:
            text = f"Consider raising the {agent_type} limit of {slots.limit} ({share} % busy, {waited} waited for it)"
            yield Recommendation("limit_too_low", text, numbers)
        elif share >= WELL_USED:
            well[agent_type] = share
    yield from _total(work)
    if well:
        shares = ", ".join(f"{agent_type} {share} %" for agent_type, share in well.items())
        yield Recommendation("well_used", f"At good utilization: {shares}", {"busy_percent": well})


def _percent_busy(slots: Slots) -> int | None:
    """Floored; None where too little time has passed to say."""
    if not slots.available_ms or not slots.limit or slots.available_ms // slots.limit < ENOUGH_MS:
        return None
    return percent(slots.busy_ms, slots.available_ms)


def _total(work: TaskDay) -> Iterator[Recommendation]:
    """Whether the limit on all tasks is what they wait for."""
    slots = work.all_slots()
    share = _percent_busy(slots)
    waited = sum(lot.obstacles.get("total_concurrency", 0) for lot in work.lots)
    if share is not None and share >= FULL and waited:
        text = f"Consider raising the total limit of {slots.limit} ({share} % busy, {waited} waited for it)"
        yield Recommendation("total_too_low", text, {"limit": slots.limit, "busy_percent": share, "waited": waited})


# --- waits ------------------------------------------------------------------------------------------------------------


def _waits(work: TaskDay) -> Iterator[Recommendation]:
    waits = work.waits()
    if not waits.waited:
        return
    overdue = sum(lot.overdue for lot in work.lots)
    average, longest = minutes(waits.waited_ms / waits.waited), minutes(waits.longest_ms)
    numbers = {
        "runs": waits.runs,
        "waited": waits.waited,
        "average_minutes": average,
        "longest_minutes": longest,
        "overdue": overdue,
    }
    times = f"{average} minutes on average, {longest} at most"
    if overdue:
        tasks = "1 task" if overdue == 1 else f"{overdue} tasks"
        text = f"{tasks} waited longer than allowed ({times}): raise limits, or lower priorities"
        yield Recommendation("waits_too_long", text, numbers)
    else:
        yield Recommendation("waits_acceptable", f"Queue wait times acceptable ({times})", numbers)


# --- estimates and models ---------------------------------------------------------------------------------------------


def _estimates(work: TaskDay) -> Iterator[Recommendation]:
    """Types whose tasks took more or fewer tokens than estimated, by more than the seed calls good."""
    for agent_type in sorted({lot.agent_type for lot in work.lots}):
        done = work.done(lot for lot in work.lots if lot.agent_type == agent_type)
        if done.estimated < ENOUGH or not done.estimated_tokens:
            continue
        off = done.taken_tokens - done.estimated_tokens
        if abs(off) <= GOOD * done.estimated_tokens:
            continue
        share = percent(abs(off), done.estimated_tokens)
        took, estimated = done.taken_tokens // done.estimated, done.estimated_tokens // done.estimated
        word = "more" if off > 0 else "fewer"
        text = (
            f"Estimate {agent_type} at {took:,} tokens: {done.estimated} tasks took {share} % {word}"
            f" than the {estimated:,} estimated"
        )
        numbers = {
            "agent_type": agent_type,
            "tasks": done.estimated,
            "tokens_per_task": took,
            "estimated_per_task": estimated,
            "off_percent": share if off > 0 else -share,
        }
        yield Recommendation("estimates_off", text, numbers)


def _models(models: Iterable[ModelRow]) -> Iterator[Recommendation]:
    """What the next cheaper model would have saved on tasks that were not critical, if it needs as many tokens."""
    for row in sorted(models, key=lambda row: row.model):
        own = row.would_cost.get(row.model, 0)
        cheaper = [(cost, alias) for alias, cost in row.would_cost.items() if cost < own]
        if not cheaper or not row.compared:
            continue
        cost, alias = max(cheaper)
        saving = Saving(own - cost, own)
        share = percent(*saving)
        if share < WORTH_NAMING or not round(saving.saved_nanos / 10**7):
            continue
        tasks = "1 task" if row.compared == 1 else f"{row.compared} tasks"
        text = (
            f"Consider {alias} in place of {row.model} for what is not critical:"
            f" {tasks} would have cost {cents(cost)} for as many tokens, {saving} less"
        )
        numbers = {
            "model": row.model,
            "instead": alias,
            "tasks": row.compared,
            "cost_usd": dollars(own),
            "would_cost_usd": dollars(cost),
            "saved_percent": share,
        }
        yield Recommendation("cheaper_model", text, numbers)
