"""How the tasks of the whole demonstration came to their slots, out of the rows of the view of tasks."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence

import msgspec

from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views.task_rows import TaskRow, decode
from tallystick.projections.views.tasks import TasksView

_MILLISECOND = dt.timedelta(milliseconds=1)


class SlotUse(msgspec.Struct, frozen=True):
    """Times are of the fleet's clock, waits in milliseconds."""

    slots: int | None
    """How many there are; None where nothing limits them."""
    utilization: float | None
    """The part of all slots that was taken from the first start to the last event; None where none are."""
    ended: Counter[str]
    """Tasks by how they ended: completed, failed, cancelled, rejected."""
    waited_ms: dict[str, int]
    """How long each task that had a slot waited for it, in all."""

    @property
    def that_waited(self) -> int:
        """How many tasks had to wait for their slot."""
        return sum(ms > 0 for ms in self.waited_ms.values())

    @property
    def average_wait_ms(self) -> int:
        """Over the tasks that had to wait."""
        return sum(self.waited_ms.values()) // self.that_waited if self.that_waited else 0

    @property
    def longest_wait_ms(self) -> int:
        return max(self.waited_ms.values(), default=0)


def slot_use(views: ViewStore, slots: int | None, first_start: dt.datetime | None, now: dt.datetime) -> SlotUse:
    """Over all tasks from the first start of one to ``now``."""
    rows = [
        row for data in views.whole((TasksView.name,)).rows[TasksView.name] if isinstance(row := decode(data), TaskRow)
    ]
    return SlotUse(
        slots=slots,
        utilization=_utilization(rows, slots, first_start, now),
        ended=Counter(row.state for row in rows if not row.is_open),
        waited_ms={row.task: row.waited_ms for row in rows if row.runs},
    )


def _utilization(
    rows: Sequence[TaskRow], slots: int | None, first_start: dt.datetime | None, now: dt.datetime
) -> float | None:
    if not slots or first_start is None or now <= first_start:
        return None
    busy_ms = sum(row.busy_ms + ((now - row.since) // _MILLISECOND if row.state == "running" else 0) for row in rows)
    return busy_ms / ((now - first_start) // _MILLISECOND * slots)
