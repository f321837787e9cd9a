"""How a correction of usage changes the rows of tasks, and the sums of the days on which they were completed."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping

from tallystick.config.price import ModelPrice
from tallystick.events import catalog as e
from tallystick.events.catalog.usage import tokens_of
from tallystick.events.state.money import money, plus
from tallystick.projections.views.task_rows import AnyRow, DayRow, LotRow, ModelRow, TaskRow, id_of
from tallystick.projections.views.view import moved

Find = Callable[[str], AnyRow | None]
"""A row by its id that is finished."""


def correct(
    task: TaskRow, event: e.UsageCorrected, today: DayRow, live: Mapping[str, AnyRow], kept: Find
) -> Iterator[AnyRow]:
    """Correct a task; yields the rows that are different then: its own where it is open, and sums of days, of which
    ``live`` are those of the day at hand.
    """
    task.used = moved(plus(money(task.used.triple), event.difference))
    if task.is_open:
        yield task

    def find(id: str) -> AnyRow | None:
        return live.get(id) or kept(id)

    ended_at = task.ended_at
    if task.state == "completed" and ended_at is not None:
        day = _day_of(ended_at, today, find)
        counted = event.record.at <= ended_at or (day is not None and (day.ends_at or event.at) > event.record.at)
        lot = (
            None
            if day is None
            else find(id_of(LotRow(date=day.date, agent_type=task.agent_type, product=task.product)))
        )
        if isinstance(lot, LotRow) and counted:
            lot.add_completed(task, event.tokens, event.cost_nanos)
            yield lot
    if task.state not in ("running", "completed"):
        return
    _compare(task.would_cost, event, today.models)
    if task.model is not None and not task.critical and (ended_at is None or event.record.at <= ended_at):
        model = find(id_of(ModelRow(date=event.day, model=task.model)))
        if isinstance(model, ModelRow):
            _compare(model.would_cost, event, today.models)
            yield model


def _day_of(moment: dt.datetime, today: DayRow, find: Find) -> DayRow | None:
    """The day in which a moment was."""
    if moment >= today.began_at:
        return today
    for days in (0, -1, 1):
        row = find(f"day/{(moment + dt.timedelta(days=days)).date().isoformat()}")
        if isinstance(row, DayRow) and row.began_at <= moment < (row.ends_at or today.began_at):
            return row
    return None


def _compare(would_cost: dict[str, int], event: e.UsageCorrected, prices: dict[str, ModelPrice]) -> None:
    """What the usage would cost on each model of the catalogue, by the prices of today."""
    for alias, price in prices.items():
        more = 0
        for said, sign in ((event.counted, -1), (event.counts, 1)):
            base = said.base_tier or (said.requests or 1) > 1
            more += sign * price.cost(*tokens_of(said), base=base) if said.tokens else 0
        if alias in would_cost or more > 0:
            would_cost[alias] = max(0, would_cost.get(alias, 0) + more)
