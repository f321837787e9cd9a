"""What a report says about tasks: how they ended, what one costs and takes, and how long they waited, by product."""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable

import msgspec

from tallystick.config.amounts import COST, TOKENS, dollars
from tallystick.events.messages.replies import Number
from tallystick.events.state.estimates import accuracy
from tallystick.events.state.money import money
from tallystick.projections.reports.task_day import Waits, minutes
from tallystick.projections.views.task_rows import TaskRow

_MILLISECOND = dt.timedelta(milliseconds=1)


class ProductWaits(msgspec.Struct, frozen=True):
    """How long the tasks of a product waited for slots. ``waited`` of its ``runs`` did; minutes are of those, to one
    place. A task that lost its slot waits again, and one that still waits counts with what it has waited so far.
    """

    product: str
    tasks: int
    runs: int
    waited: int
    average_minutes: Number | None
    longest_minutes: Number


class TasksReport(msgspec.Struct, frozen=True):
    """The tasks of a report. TaskDay per unit is of those that were completed, with what they used in all their runs;
    None where there are none. ``estimates_good`` is the share of those that were estimated that took within 10 % of it.
    """

    tasks: int
    by_state: dict[str, int]
    attempts_lost: int
    tasks_per_1k_tokens: float | None
    tokens_per_task: float | None
    cost_per_task: str | None
    estimates_good: float | None
    waits_by_product: list[ProductWaits]


def tasks_report(rows: Collection[TaskRow], now: dt.datetime) -> TasksReport | None:
    """The report on these tasks, who waited the longest first; None where there are none."""
    if not rows:
        return None
    done = [row for row in rows if row.state == "completed"]
    used = [money(row.used.triple) for row in done]
    tokens, cost_nanos = sum(units[TOKENS] for units in used), sum(units[COST] for units in used)
    good = [
        accuracy(row.estimated_tokens, units[TOKENS]) == "good"
        for row, units in zip(done, used, strict=True)
        if not row.assumed
    ]
    return TasksReport(
        tasks=len(rows),
        by_state=dict(sorted(Counter(row.state for row in rows).items())),
        attempts_lost=sum(row.attempt - 1 for row in rows),
        tasks_per_1k_tokens=round(1_000 * len(done) / tokens, 6) if tokens else None,
        tokens_per_task=round(tokens / len(done), 1) if done else None,
        cost_per_task=dollars(round(cost_nanos / len(done))) if done else None,
        estimates_good=round(sum(good) / len(good), 6) if good else None,
        waits_by_product=_by_product(rows, now),
    )


def _by_product(rows: Iterable[TaskRow], now: dt.datetime) -> list[ProductWaits]:
    waits: dict[str, Waits] = {}
    tasks = Counter(row.product for row in rows)
    for row in rows:
        found = waits.get(row.product, Waits()).plus(row.runs, row.waits, row.waited_ms, row.wait_max_ms)
        if row.state == "queued":
            found = found.plus_wait(max(0, (now - row.since) // _MILLISECOND))
        waits[row.product] = found
    ordered = sorted(waits.items(), key=lambda item: (-item[1].longest_ms, item[0]))
    return [
        ProductWaits(
            product=product,
            tasks=tasks[product],
            runs=found.runs,
            waited=found.waited,
            average_minutes=minutes(found.waited_ms / found.waited) if found.waited else None,
            longest_minutes=minutes(found.longest_ms),
        )
        for product, found in ordered
    ]
