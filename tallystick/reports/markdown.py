"""A report in Markdown, for a person who was not there."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from tallystick.events.catalog import LEVELS
from tallystick.events.messages.replies import EdgeAmounts
from tallystick.projections.reports.task_report import TasksReport
from tallystick.projections.reports.usage_report import AgentStory, Summary, UsageReport
from tallystick.projections.reports.utilization import Measure
from tallystick.wording import (
    DIMENSION_NAMES,
    NONE,
    and_more,
    counted,
    edge_amount,
    markdown_text,
    percent,
    to_two_places,
)

AGENTS_SHOWN: Final = 30
ANOMALIES_SHOWN: Final = 20
PRODUCTS_SHOWN: Final = 20
_UTILIZATION_AIM, _FAIRNESS_AIM = 0.85, 0.90


def markdown(report: UsageReport) -> str:
    """The whole report; the agents that used the most of their budgets have lines of their own."""
    parts: list[Iterable[str]] = [_head(report), _strangers(report.summary), _advice(report)]
    if report.tasks is not None:
        parts.append(_tasks(report.tasks))
    parts.append(_agents(report))
    if report.overruns_by_cause:
        parts.append(_overruns(report))
    if report.anomalies:
        parts.append(_anomalies(report.anomalies))
    parts.append(_quality(report))
    return "\n".join(line for part in parts for line in part)


def _strangers(summary: Summary) -> Iterator[str]:
    """What was used by ids that never had a budget, if anything was."""
    used = [
        edge_amount(getattr(summary.unallocated, name)) + f" {word}"
        for name, word in DIMENSION_NAMES.items()
        if _has(summary.unallocated, name)
    ]
    if used:
        yield from (f"Used without a budget: {', '.join(used)}.", "")


def _head(report: UsageReport) -> Iterator[str]:
    summary = report.summary
    whole = "# The whole fleet" if report.workflow is None else f"# Workflow {markdown_text(report.workflow)}"
    yield from (whole, "", f"As of {_time(report.at)}, position {report.position:,} of the log.", "")
    if not summary.agents:
        yield from ("No agent ever had a budget here.", "")
        return
    until = "" if summary.ended_at is None else f" to {_time(summary.ended_at)}"
    since = "" if summary.began_at is None else f", {_time(summary.began_at)}{until}"
    yield f"{counted(summary.agents, 'agent')} ({summary.open:,} open, {summary.released:,} released){since}."
    if summary.stops:
        ran_out = counted(summary.agents_stopped, "agent")
        foreseen = f"{summary.stops_warned} of {counted(summary.stops, 'stop')} foreseen a minute before or earlier"
        yield f"{ran_out} ran out of budget; {foreseen}."
    else:
        yield "No agent ran out of budget."
    if summary.refusals:
        counts = (f"{counted(count, 'request')} ({code})" for code, count in summary.refusals.items())
        yield f"Refused: {', '.join(counts)}."
    yield ""
    columns = [
        (name, word)
        for name, word in DIMENSION_NAMES.items()
        if name in summary.utilization or _has(summary.consumed, name)
    ]
    yield from _table(
        ["", *(word for _, word in columns)],
        [
            [title, *(edge_amount(getattr(amounts, name)) for name, _ in columns)]
            for title, amounts in (
                ("allocated", summary.allocated),
                ("used", summary.consumed),
                ("overrun", summary.overrun),
            )
        ]
        + [["utilization", *(percent(summary.utilization.get(name)) for name, _ in columns)]]
        + _expected(summary, [name for name, _ in columns]),
    )


def _expected(summary: Summary, names: Sequence[str]) -> list[list[str]]:
    """What will have been used when all have ended, where it is foreseen."""
    if not summary.expected:
        return []
    ends = [summary.expected.get(name) for name in names]
    return [
        ["expected when all have ended", *(NONE if end is None else edge_amount(end.estimate) for end in ends)],
        [
            "between, in 80 of 100 cases",
            *(NONE if end is None else f"{edge_amount(end.low)} and {edge_amount(end.high)}" for end in ends),
        ],
    ]


def _advice(report: UsageReport) -> Iterator[str]:
    yield from ("## What to do", "")
    if report.recommendations:
        yield from (f"- {markdown_text(advice.text)}" for advice in report.recommendations)
    else:
        yield "Nothing stands out."
    yield ""


def _tasks(tasks: TasksReport) -> Iterator[str]:
    states = ", ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in tasks.by_state.items())
    yield from ("## Tasks", "", f"{counted(tasks.tasks, 'task')}: {states}.")
    if tasks.tokens_per_task is not None:
        cost, good = edge_amount(tasks.cost_per_task), percent(tasks.estimates_good)
        yield f"One takes {tasks.tokens_per_task:,.0f} tokens and {cost}; {good} took within 10 % of their estimate."
    if tasks.attempts_lost:
        yield f"{counted(tasks.attempts_lost, 'lease')} lost, and tried again."
    yield ""
    rows = [
        [
            markdown_text(one.product),
            f"{one.tasks:,}",
            f"{one.waited:,} of {one.runs:,}",
            edge_amount(one.average_minutes),
            edge_amount(one.longest_minutes),
        ]
        for one in tasks.waits_by_product[:PRODUCTS_SHOWN]
    ]
    yield from _table(["product", "tasks", "runs that waited", "minutes on average", "longest"], rows)
    yield from _and_more(len(tasks.waits_by_product), PRODUCTS_SHOWN, ", whose waits were shorter")


def _agents(report: UsageReport) -> Iterator[str]:
    if not report.agents:
        return
    yield from ("## Agents", "")
    with_cost = any(_has(agent.consumed, "cost_usd") for agent in report.agents)
    head = ["agent", "type", "state", "tokens used", "of", *(["cost"] if with_cost else []), "used", "levels", "given"]
    rows = [_agent(agent, with_cost) for agent in report.agents[:AGENTS_SHOWN]]
    yield from _table(head, rows, right=(3, 4, 5, 6) if with_cost else (3, 4, 5))
    yield from _and_more(len(report.agents), AGENTS_SHOWN, ", less used")


def _agent(agent: AgentStory, with_cost: bool) -> list[str]:
    return [
        markdown_text(agent.agent),
        markdown_text(agent.agent_type or NONE),
        agent.state,
        edge_amount(agent.consumed.tokens),
        edge_amount(agent.allocated.tokens),
        *([edge_amount(agent.consumed.cost_usd)] if with_cost else []),
        percent(agent.percentage),
        _levels(agent),
        _given(agent),
    ]


def _levels(agent: AgentStory) -> str:
    """The levels that it came to and when; the newest few of many."""
    told = [(mark["at"][11:16], mark.get("level") or mark["order"]) for mark in agent.level_history]
    shown = ", ".join(f"{what} {at}" for at, what in told[-4:])
    before = len(told) - 4 + agent.level_history_left_out
    return (f"… {shown}" if before > 0 else shown) or LEVELS[0]


def _given(agent: AgentStory) -> str:
    """What came and went beside the allocation at the start, in tokens or else in dollars."""
    moved = (("topped up", agent.topped_up), ("drawn", agent.drawn), ("reclaimed", agent.reclaimed))
    told = []
    for word, amounts in moved:
        value = amounts.tokens if amounts.tokens is not None else amounts.cost_usd
        if value is not None:
            told.append(f"{edge_amount(value)} {word}")
    return ", ".join(told) or NONE


def _overruns(report: UsageReport) -> Iterator[str]:
    yield from ("## Overruns, by cause", "", "What agents used beyond their own, and others paid.", "")
    causes = report.overruns_by_cause
    columns = [
        (name, word)
        for name, word in DIMENSION_NAMES.items()
        if any(_has(amounts, name) for amounts in causes.values())
    ]
    rows = [
        [cause.replace("_", " "), *(edge_amount(getattr(amounts, name)) for name, _ in columns)]
        for cause, amounts in causes.items()
    ]
    yield from _table(["cause", *(word for _, word in columns)], rows)


def _anomalies(anomalies: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield from ("## Anomalies", "")
    for anomaly in anomalies[:ANOMALIES_SHOWN]:
        what = f"{markdown_text(anomaly['agent'])}: {markdown_text(anomaly['text'])}"
        yield f"- {_time(anomaly['at'])} {what} (position {anomaly['position']:,})"
    yield from (f"- {line}" for line in and_more(len(anomalies), ANOMALIES_SHOWN, ""))
    yield ""


def _quality(report: UsageReport) -> Iterator[str]:
    quality = report.quality
    yield from ("## Quality", "")
    rows = [
        [name, *(to_two_places(getattr(measure, dimension)) for dimension in DIMENSION_NAMES), aim]
        for name, measure, aim in (
            ("utilization", quality.utilization, f"≥ {_UTILIZATION_AIM:.2f}"),
            ("fairness", quality.fairness, f"≥ {_FAIRNESS_AIM:.2f}"),
            ("Jain's index", quality.jain, ""),
        )
        if measure != Measure(None, None, None)
    ]
    if rows:
        yield from _table(["metric", *DIMENSION_NAMES.values(), "aim"], rows)
    else:
        yield from ("Nothing was allocated.", "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] | None = None) -> Iterator[str]:
    """A Markdown table; columns of numbers (all but the first, where none are named) are set to the right."""
    numbers = range(1, len(head)) if right is None else right
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join('---:' if i in numbers else '---' for i in range(len(head)))}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _and_more(total: int, shown: int, remark: str) -> Iterator[str]:
    for line in and_more(total, shown, f"{remark}: the JSON form has them all."):
        yield from (f"A{line[1:]}", "")


def _has(amounts: EdgeAmounts, name: str) -> bool:
    return getattr(amounts, name) is not None


def _time(stamped: str) -> str:
    return f"{stamped[:10]} {stamped[11:19]}Z"
