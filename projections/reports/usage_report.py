"""What became of a workflow, or of the whole fleet: made of the rows of views.

Amounts are in edge units. A parent's consumption is its own here, without what its closed sub-agents used: those have
lines of their own, so that the sums count every unit once.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import msgspec

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, Amounts, Triple, seconds
from tallystick.config.loader import restore
from tallystick.config.prices import PriceList
from tallystick.events.catalog import LEVELS
from tallystick.events.decide.answers import stamp
from tallystick.events.messages.replies import EdgeAmounts, Number, Reply, shown
from tallystick.events.state.money import ZERO, Money, limited, money, plus
from tallystick.events.state.rules import Rules
from tallystick.projections.reports.agent_usage import AgentUsage, charged_for
from tallystick.projections.reports.recommendation import Recommendation
from tallystick.projections.reports.task_report import TasksReport, tasks_report
from tallystick.projections.reports.usage_recommendations import usage_recommendations
from tallystick.projections.reports.utilization import Measure, Quality, quality
from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views import agent_rows
from tallystick.projections.views import timeline as timeline_view
from tallystick.projections.views.agent_rows import RELEASED, UNALLOCATED, AgentRow
from tallystick.projections.views.agents import AgentsView
from tallystick.projections.views.fleet import FleetRow, FleetView, fleet_in, with_budget
from tallystick.projections.views.task_rows import TaskRow, tasks_in
from tallystick.projections.views.tasks import TasksView
from tallystick.projections.views.timeline import Mark, TimelineRow, TimelineView


class AgentStory(msgspec.Struct):
    """One agent: what it was given and used, what happened to it, why it used more than it was given.

    ``utilization`` is consumed / allocated by limited dimension; ``percentage`` the largest of these over what it kept.
    ``tasks`` counts the completed tasks that it was or that were paid from it; None where there were none at all.
    """

    agent: str
    agent_type: str | None
    product: str | None
    priority: str
    parent: str | None
    state: str
    opened_at: str
    open_seconds: Number
    allocated: EdgeAmounts
    consumed: EdgeAmounts
    overrun: EdgeAmounts
    utilization: dict[str, float | None]
    percentage: float
    reports: int
    tokens_per_report: float | None
    tasks: int | None
    highest_level: str
    level_history: list[dict[str, Any]]
    level_history_left_out: int
    seconds_at_level: dict[str, Number]
    stops: int
    stops_warned: int
    warnings: int
    overruns_by_cause: dict[str, EdgeAmounts]
    drawn: EdgeAmounts
    topped_up: EdgeAmounts
    reclaimed: EdgeAmounts
    refusals: dict[str, int]
    anomalies: list[dict[str, Any]]


class Expected(msgspec.Struct, frozen=True):
    """What agents will have used when the open ones have ended, in edge units, with its 80 % interval."""

    estimate: Any
    low: Any
    high: Any


Expect = Callable[[Sequence[AgentRow], Mapping[str, AgentRow]], dict[str, Expected]]
"""What chosen agents will have used, by dimension where it is known; beside them, all agents by id."""


class Summary(msgspec.Struct):
    """The sums over all agents of a report. ``expected`` has the dimensions in which the end is foreseen."""

    agents: int
    open: int
    released: int
    began_at: str | None
    ended_at: str | None
    allocated: EdgeAmounts
    consumed: EdgeAmounts
    overrun: EdgeAmounts
    utilization: dict[str, float | None]
    stops: int
    stops_warned: int
    agents_stopped: int
    refusals: dict[str, int]
    unallocated: EdgeAmounts = msgspec.field(default_factory=EdgeAmounts)
    """What ids used that never had an account: all of them, or the one that is called as the workflow."""
    expected: dict[str, Expected] = {}


class UsageReport(Reply):
    """Answers `GenerateReport`. ``workflow`` is None for the whole fleet; agents are the most used first.

    ``tasks`` is None where there were none. The quality's utilization counts a run of a task with its token budget.
    """

    workflow: str | None
    position: int
    at: str
    summary: Summary
    tasks: TasksReport | None
    agents: list[AgentStory]
    overruns_by_cause: dict[str, EdgeAmounts]
    anomalies: list[dict[str, Any]]
    quality: Quality
    recommendations: list[Recommendation]


def report_of(views: ViewStore, workflow: str | None = None, expect: Expect | None = None) -> UsageReport:
    """The report on a workflow, or on the whole fleet, as of where the views are; ``expect`` foresees its end.

    Raises:
        NotKept: the rows cannot be read.
    """
    rows = views.whole((FleetView.name, AgentsView.name, TimelineView.name, TasksView.name)).rows
    fleet = fleet_in(rows[FleetView.name])
    known = {row.agent: row for row in map(agent_rows.decode, rows[AgentsView.name])}
    agents = {name: row for name, row in known.items() if row.state != UNALLOCATED}
    strangers = [row for name, row in known.items() if row.state == UNALLOCATED and workflow in (None, name)]
    stories = {row.agent: row for row in map(timeline_view.decode, rows[TimelineView.name])}
    chosen = [*agents.values()] if workflow is None else in_workflow(agents, workflow)
    weights = Rules(restore(fleet.config), PriceList()).weights if fleet.config else {}
    tasks = {row.task: row for row in tasks_in(rows[TasksView.name])}
    names = {row.agent for row in chosen}
    own = [row for row in tasks.values() if workflow in (None, row.workflow) or not names.isdisjoint(_payers(row))]
    done = Counter(name for row in own for name in _payers(row) if row.state == "completed")
    lines = [_line(row, stories[row.agent], tasks.get(row.agent), done.get(row.agent)) for row in chosen]
    found = report(workflow, fleet, lines, tasks_report(own, fleet.at), weights)
    found.summary.unallocated = _moved(reduce(plus, (money(row.consumed.triple) for row in strangers), ZERO))
    if expect is not None:
        found.summary.expected = expect(chosen, agents)
    return found


def _payers(task: TaskRow) -> set[str]:
    """The accounts that a task is for: its own, and the one that pays for it."""
    return {task.task} if task.parent is None else {task.task, task.parent}


def _line(row: AgentRow, story: TimelineRow, task: TaskRow | None, done: int | None) -> AgentUsage:
    return AgentUsage(row, story, task.token_budget if task is not None and row.task else None, done)


def in_workflow(agents: Mapping[str, AgentRow], workflow: str) -> list[AgentRow]:
    """The agents with the label, those below an account with the label or of that name, and that account itself."""
    known: dict[str, bool] = {}
    for row in agents.values():
        path: list[str] = []
        at: AgentRow | None = row
        # Up to an account of which it is known, so that a deep tree is walked once.
        while at is not None and at.agent not in known:
            path.append(at.agent)
            if workflow in (at.workflow, at.agent):
                known[at.agent] = True
                break
            at = None if at.parent is None else agents.get(at.parent)
        belongs = at is not None and known[at.agent]
        known.update(dict.fromkeys(path, belongs))
    return [row for row in agents.values() if known[row.agent]]


def report(
    workflow: str | None,
    fleet: FleetRow,
    lines: Sequence[AgentUsage],
    tasks: TasksReport | None,
    weights: Mapping[str, Any],
) -> UsageReport:
    """The report on these agents as of the fleet's row; ``weights`` by priority, for fairness."""
    lines = sorted(lines, key=lambda line: (-line.row.percentage, line.row.agent))
    stories = [_story(line, fleet.at) for line in lines]
    causes: dict[str, Money] = {}
    for line in lines:
        for cause, amount in line.story.overruns.items():
            causes[cause] = plus(causes.get(cause, ZERO), money(amount.triple))
    anomalies = sorted(
        ({"agent": story.agent, **anomaly} for story in stories for anomaly in story.anomalies),
        key=lambda anomaly: anomaly["position"],
    )
    rows = [line.row for line in lines]
    # Used of what was given, as `status` and `metrics` say it; and how evenly it was given to all that are in here.
    spread = quality(FleetRow(), rows, weights)
    closed = fleet if workflow is None else _closed(lines)
    used = quality(closed, [row for row in rows if row.state != RELEASED], weights)
    return UsageReport(
        workflow=workflow,
        position=fleet.position,
        at=stamp(fleet.at),
        summary=_summary(lines, used.utilization),
        tasks=tasks,
        agents=stories,
        overruns_by_cause={cause: _moved(units) for cause, units in sorted(causes.items())},
        anomalies=anomalies,
        quality=Quality(used.utilization, spread.fairness, spread.jain),
        recommendations=usage_recommendations(fleet, lines),
    )


def _closed(lines: Iterable[AgentUsage]) -> FleetRow:
    """A fleet's row that holds what these released agents had been given and used, and the token budgets of runs."""
    allocated = consumed = ZERO
    for line in lines:
        if line.row.state == RELEASED:
            limits = with_budget(line.allocated, line.token_budget)
            # What came after its release is no use of what it was given: others paid.
            own = money(limited(limits, charged_for(line.row)))
            allocated, consumed = plus(allocated, money(limits)), plus(consumed, own)
    budgets = {line.row.agent: line.token_budget for line in lines if line.token_budget is not None}
    return FleetRow(closed_allocated=Amounts(*allocated), closed_consumed=Amounts(*consumed), token_budgets=budgets)


def _summary(lines: Sequence[AgentUsage], used: Measure) -> Summary:
    allocated = consumed = overrun = ZERO
    refusals: dict[str, int] = {}
    for line in lines:
        allocated = plus(allocated, money(line.allocated))
        consumed = plus(consumed, line.consumed)
        overrun = plus(overrun, money(line.row.overrun.triple))
        for code, count in line.story.refusals.items():
            refusals[code] = refusals.get(code, 0) + count
    rows = [line.row for line in lines]
    ended = [at for row in rows for at in (row.released_at, row.last_report_at) if at is not None]
    limits = _named(row.allocated.triple for row in rows)
    return Summary(
        agents=len(rows),
        open=sum(row.state != RELEASED for row in rows),
        released=sum(row.state == RELEASED for row in rows),
        began_at=stamp(min(row.opened_at for row in rows)) if rows else None,
        ended_at=stamp(max(ended)) if ended else None,
        allocated=shown(limited(limits, allocated)),
        consumed=_moved(consumed),
        overrun=shown(limited(limits, overrun)),
        utilization={EDGE_NAMES[d]: getattr(used, EDGE_NAMES[d]) for d in DIMENSIONS if limits[d] is not None},
        stops=sum(line.story.stops for line in lines),
        stops_warned=sum(line.story.stops_warned for line in lines),
        agents_stopped=sum(line.story.stops > 0 for line in lines),
        refusals=dict(sorted(refusals.items())),
    )


def _named(triples: Iterable[Triple]) -> Triple:
    """Zero in the dimensions that one of the triples names."""
    named: list[int | None] = [None, None, None]
    for triple in triples:
        for d in DIMENSIONS:
            if triple[d] is not None:
                named[d] = 0
    return (named[0], named[1], named[2])


def _story(line: AgentUsage, now: dt.datetime) -> AgentStory:
    row, story = line.row, line.story
    until = row.released_at or now
    marks = story.marks
    return AgentStory(
        agent=row.agent,
        agent_type=row.agent_type,
        product=row.product,
        priority=row.priority,
        parent=row.parent,
        state=row.state,
        opened_at=stamp(row.opened_at),
        open_seconds=seconds((until - row.opened_at) // dt.timedelta(milliseconds=1)),
        allocated=shown(row.allocated.triple),
        consumed=_moved(line.consumed),
        overrun=shown(row.overrun.triple),
        utilization=_shares(line.allocated, line.consumed),
        percentage=row.percentage,
        reports=row.reports,
        tokens_per_report=round(line.consumed[0] / row.reports, 1) if row.reports else None,
        tasks=line.tasks,
        highest_level=story.highest,
        level_history=[_mark(mark) for mark in marks if mark.kind in ("level", "order")],
        level_history_left_out=story.marks_left_out,
        seconds_at_level=_at_levels(row, marks, until),
        stops=story.stops,
        stops_warned=story.stops_warned,
        warnings=story.warnings,
        overruns_by_cause={cause: shown(amount.triple) for cause, amount in sorted(story.overruns.items())},
        drawn=shown(story.drawn.triple),
        topped_up=shown(story.topped_up.triple),
        reclaimed=shown(story.reclaimed.triple),
        refusals=story.refusals,
        anomalies=[_mark(mark) for mark in marks if mark.kind == "anomaly"],
    )


def _mark(mark: Mark) -> dict[str, Any]:
    fields = {"position": mark.position, "at": stamp(mark.at), mark.kind: mark.what}
    if mark.dimension is not None:
        fields["dimension"] = mark.dimension
    if mark.number is not None:
        fields["number"] = mark.number
    if mark.text is not None:
        fields["text"] = mark.text
    return fields


def _at_levels(row: AgentRow, marks: Sequence[Mark], until: dt.datetime) -> dict[str, Number]:
    """How long the agent was at each level, as far back as its marks reach."""
    found: dict[str, int] = {}
    at, level = row.opened_at, LEVELS[0]
    for mark in marks:
        if mark.kind == "level":
            found[level] = found.get(level, 0) + (mark.at - at) // dt.timedelta(milliseconds=1)
            at, level = mark.at, mark.what
    found[level] = found.get(level, 0) + max(0, (until - at) // dt.timedelta(milliseconds=1))
    return {level: seconds(found[level]) for level in LEVELS if level in found}


def _shares(allocated: Triple, consumed: Money) -> dict[str, float | None]:
    return {
        EDGE_NAMES[d]: round(consumed[d] / limit, 6) if limit else None
        for d in DIMENSIONS
        if (limit := allocated[d]) is not None
    }


def _moved(units: Money) -> EdgeAmounts:
    """Amounts without the dimensions in which there is nothing."""
    return shown((units[0] or None, units[1] or None, units[2] or None))
