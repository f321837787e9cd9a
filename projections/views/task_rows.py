"""The rows of the view of tasks: one per task, and of each day one per agent type and product, and one per model."""

import datetime as dt
from collections.abc import Iterable

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.config.prices import ModelPrice
from tallystick.events import catalog as e
from tallystick.events.catalog.tasks import WhyUnknown
from tallystick.events.state.tasks import OPEN

_LONGEST_DAY = dt.timedelta(hours=25)
_DAY = dt.timedelta(hours=24)
AT_ONCE_MS = 1_000
"""A run that starts within a second of being queued has not waited: what its dependencies set free starts with the next
commit."""


class TaskRow(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="row", tag="task", gc=False):
    """One task: what it is, where it stands, how long it waited, and what it used in all of its runs.

    ``since`` is when the wait or the run at hand began. ``code`` and ``message`` are what was in its way when it was
    queued, or why it ended. ``waited_ms`` is all of its waiting so far, the wait at hand left out; ``busy_ms`` likewise
    all that it held a slot. ``told`` counts how often an expected start was announced, ``expected_start`` is the last
    one; ``late_ms`` is how much later than announced it last started (below 0: earlier), None where none was announced.
    ``used`` is its own usage and that of its sub-agents, and ``would_cost`` what that costs by the price list on each
    model of the catalogue, by alias, in nano-dollars. ``critical`` is its level when it last started. ``unknown`` is
    why no start could be expected, where the last answer named none (`WhyUnknown`). ``assumed``: no tokens were
    estimated, and ``estimated_tokens`` is the type's token budget.
    """

    task: str
    agent_type: str
    product: str
    workflow: str | None = None
    parent: str | None = None
    priority: str | None = None
    state: str = "queued"
    submitted_at: dt.datetime
    since: dt.datetime
    queued_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    attempt: int = 1
    runs: int = 0
    code: str | None = None
    message: str | None = None
    waits: int = 0
    waited_ms: int = 0
    wait_max_ms: int = 0
    busy_ms: int = 0
    told: int = 0
    expected_start: dt.datetime | None = None
    unknown: WhyUnknown | None = None
    late_ms: int | None = None
    critical: bool = False
    model: str | None = None
    counted: str | None = None
    """The id of the row of its model in which it was last counted."""
    token_budget: int | None = None
    max_tokens: int | None = None
    estimated_tokens: int = 0
    estimated_ms: int | None = None
    assumed: bool = False
    used: Amounts = Amounts()
    would_cost: dict[str, int] = {}

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    def expect(self, start: dt.datetime | None, unknown: WhyUnknown | None) -> None:
        """A start was announced, or why none can be."""
        self.told += start is not None
        self.expected_start, self.unknown = start, unknown


class DayRow(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="row", tag="day", gc=False):
    """One day of the fleet's zone. ``ends_at`` is None in a log from before days were recorded: one day without end."""

    date: str
    began_at: dt.datetime
    ends_at: dt.datetime | None = None
    limits: list["SlotLimits"] = []
    catalogue: dict[str, tuple[str, str | None]] = {}
    """The models of the configuration: by alias, id and provider."""
    models: dict[str, ModelPrice] = {}
    """What they cost, by alias, as of the newest price list; those without a price are left out."""


class SlotLimits(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How many tasks may run at once from a moment on: in all, and of a type. None is no limit."""

    since: dt.datetime
    total: int | None = None
    per_type: dict[str, int] = {}

    def of(self, agent_type: str) -> int | None:
        """What a type may have: its own limit, or the total where that is lower or the type has none."""
        own = self.per_type.get(agent_type)
        if own is None or self.total is None:
            return self.total if own is None else own
        return min(own, self.total)


class LotRow(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="row", tag="lot", gc=False):
    """The tasks of one agent type and product on one day.

    ``starts`` counts runs, ``waits`` those that had waited, ``waited_ms`` and ``wait_max_ms`` how long. ``busy_ms`` is
    how long slots were held by runs that ended, up to midnight. ``obstacles`` counts what was in the way of those that
    were queued, by its code. The figures of ``completed`` tasks are of all their runs;
    ``estimated`` counts those of them that were estimated, at ``estimated_tokens``; they used ``taken_tokens``.
    """

    date: str
    agent_type: str
    product: str
    starts: int = 0
    waits: int = 0
    waited_ms: int = 0
    wait_max_ms: int = 0
    busy_ms: int = 0
    overdue: int = 0
    obstacles: dict[str, int] = {}
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    completed_tokens: int = 0
    completed_cost_nanos: int = 0
    estimated: int = 0
    estimated_tokens: int = 0
    taken_tokens: int = 0

    def add_completed(self, task: TaskRow, tokens: int, cost_nanos: int) -> None:
        """What a completed task used."""
        self.completed_tokens += tokens
        self.taken_tokens += 0 if task.assumed else tokens
        self.completed_cost_nanos += cost_nanos


class ModelRow(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="row", tag="model", gc=False):
    """The tasks that ran on one model on one day, those included that ran when it began.

    ``would_cost`` is what the usage of those that were not critical costs by the price list on each model of the
    catalogue, by alias, in nano-dollars; ``compared`` is how many these were.
    """

    date: str
    model: str
    tasks: int = 0
    critical: int = 0
    would_cost: dict[str, int] = {}

    @property
    def compared(self) -> int:
        return self.tasks - self.critical


def submitted(event: e.TaskSubmitted) -> TaskRow:
    """A task as it begins."""
    return TaskRow(
        task=event.task,
        agent_type=event.agent_type,
        product=event.product,
        workflow=event.workflow,
        parent=event.parent,
        priority=event.priority,
        submitted_at=event.at,
        since=event.at,
        queued_at=event.at,
        model=event.model,
        estimated_tokens=event.estimated_tokens,
        estimated_ms=event.estimated_ms,
        assumed=event.assumed,
    )


AnyRow = TaskRow | DayRow | LotRow | ModelRow
_decoder: msgspec.json.Decoder[AnyRow] = msgspec.json.Decoder(AnyRow)


def decode(row: bytes) -> TaskRow | DayRow | LotRow | ModelRow:
    """A row of any kind."""
    return _decoder.decode(row)


def tasks_in(rows: Iterable[bytes]) -> list[TaskRow]:
    """The tasks among the rows of the view."""
    return [row for row in map(decode, rows) if isinstance(row, TaskRow)]


def id_of(row: TaskRow | DayRow | LotRow | ModelRow) -> str:
    """The id under which a row is kept: no two rows have the same."""
    match row:
        case TaskRow():
            return f"task/{row.task}"
        case DayRow():
            return f"day/{row.date}"
        case LotRow():
            # The length tells where the type ends, whatever letters are in it.
            return f"lot/{row.date}/{len(row.agent_type)}/{row.agent_type}/{row.product}"
        case ModelRow():
            return f"model/{row.date}/{row.model}"


def midnight(before: DayRow, ends_at: dt.datetime, at: dt.datetime) -> dt.datetime:
    """When the day began that ends then: when the one before ended, if that was the day before."""
    began_at = before.ends_at
    if began_at is None or began_at > at:
        return at  # the zone was changed in the middle of a day
    return began_at if ends_at - began_at <= _LONGEST_DAY else ends_at - _DAY
