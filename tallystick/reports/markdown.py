"""A report in Markdown, for a person who was not there."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

from tallystick.config.amounts import cents, exact_units
from tallystick.events.catalog import LEVELS
from tallystick.events.messages.replies import EdgeAmounts, Number
from tallystick.projections.reports.task_report import TasksReport
from tallystick.projections.reports.usage_report import AgentStory, UsageReport
from tallystick.projections.reports.utilization import Measure

AGENTS_SHOWN: Final = 30
ANOMALIES_SHOWN: Final = 20
PRODUCTS_SHOWN: Final = 20
_NAMES: Final = (("tokens", "tokens"), ("time_seconds", "time"), ("cost_usd", "cost"))
_UTILIZATION_AIM, _FAIRNESS_AIM = 0.85, 0.90


def markdown(report: UsageReport) -> str:
    """The whole report; the agents that used the most of their budgets have lines of their own."""
    parts: list[Iterable[str]] = [_head(report), _advice(report)]
    if report.tasks is not None:
        parts.append(_tasks(report.tasks))
    parts.append(_agents(report))
    if report.overruns_by_cause:
        parts.append(_overruns(report))
    if report.anomalies:
        parts.append(_anomalies(report.anomalies))
    parts.append(_quality(report))
    return "\n".join(line for part in parts for line in part)


def _head(report: UsageReport) -> Iterator[str]:
    summary = report.summary
    whole = "# The whole fleet" if report.workflow is None else f"# Workflow {_text(report.workflow)}"
    yield from (whole, "", f"As of {_time(report.at)}, position {report.position:,} of the log.", "")
    if not summary.agents:
        yield from ("No agent ever had a budget here.", "")
        return
    until = "" if summary.ended_at is None else f" to {_time(summary.ended_at)}"
    since = "" if summary.began_at is None else f", {_time(summary.began_at)}{until}"
    yield f"{_counted(summary.agents, 'agent')} ({summary.open:,} open, {summary.released:,} released){since}."
    if summary.stops:
        ran_out = _counted(summary.agents_stopped, "agent")
        foreseen = f"{summary.stops_warned} of {_counted(summary.stops, 'stop')} foreseen a minute before or earlier"
        yield f"{ran_out} ran out of budget; {foreseen}."
    else:
        yield "Nobody ran out of budget."
    if summary.refusals:
        counts = (f"{_counted(count, 'request')} ({code})" for code, count in summary.refusals.items())
        yield f"Refused: {', '.join(counts)}."
    yield ""
    columns = [(name, word) for name, word in _NAMES if name in summary.utilization or _has(summary.consumed, name)]
    yield from _table(
        ["", *(word for _, word in columns)],
        [
            [title, *(_amount(getattr(amounts, name)) for name, _ in columns)]
            for title, amounts in (
                ("allocated", summary.allocated),
                ("used", summary.consumed),
                ("overrun", summary.overrun),
            )
        ]
        + [["utilization", *(_share(summary.utilization.get(name)) for name, _ in columns)]],
    )


def _advice(report: UsageReport) -> Iterator[str]:
    yield from ("## What to do", "")
    if report.recommendations:
        yield from (f"- {_text(advice.text)}" for advice in report.recommendations)
    else:
        yield "Nothing stands out."
    yield ""


def _tasks(tasks: TasksReport) -> Iterator[str]:
    states = ", ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in tasks.by_state.items())
    yield from ("## Tasks", "", f"{_counted(tasks.tasks, 'task')}: {states}.")
    if tasks.tokens_per_task is not None:
        cost, good = _amount(tasks.cost_per_task), _share(tasks.estimates_good)
        yield f"One takes {tasks.tokens_per_task:,.0f} tokens and {cost}; {good} took within 10 % of their estimate."
    if tasks.attempts_lost:
        yield f"{_counted(tasks.attempts_lost, 'lease')} lost, and tried again."
    yield ""
    rows = [
        [
            _text(one.product),
            f"{one.tasks:,}",
            f"{one.waited:,} of {one.runs:,}",
            _amount(one.average_minutes),
            _amount(one.longest_minutes),
        ]
        for one in tasks.waits_by_product[:PRODUCTS_SHOWN]
    ]
    yield from _table(["product", "tasks", "runs that waited", "minutes on average", "longest"], rows)
    left = len(tasks.waits_by_product) - PRODUCTS_SHOWN
    if left > 0:
        yield from (f"And {left:,} more, whose waits were shorter: the JSON form has them all.", "")


def _agents(report: UsageReport) -> Iterator[str]:
    if not report.agents:
        return
    yield from ("## Agents", "")
    with_cost = any(_has(agent.consumed, "cost_usd") for agent in report.agents)
    head = ["agent", "type", "state", "tokens used", "of", *(["cost"] if with_cost else []), "used", "levels", "given"]
    rows = [_agent(agent, with_cost) for agent in report.agents[:AGENTS_SHOWN]]
    yield from _table(head, rows, right=(3, 4, 5, 6) if with_cost else (3, 4, 5))
    left = len(report.agents) - AGENTS_SHOWN
    if left > 0:
        yield from (f"And {left:,} more, less used: the JSON form has them all.", "")


def _agent(agent: AgentStory, with_cost: bool) -> list[str]:
    return [
        _text(agent.agent),
        _text(agent.agent_type or "–"),
        agent.state,
        _amount(agent.consumed.tokens),
        _amount(agent.allocated.tokens),
        *([_amount(agent.consumed.cost_usd)] if with_cost else []),
        f"{int(agent.percentage * 100)} %",
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
            told.append(f"{_amount(value)} {word}")
    return ", ".join(told) or "–"


def _overruns(report: UsageReport) -> Iterator[str]:
    yield from ("## Overruns, by cause", "", "What agents used beyond their own, and others paid.", "")
    causes = report.overruns_by_cause
    columns = [(name, word) for name, word in _NAMES if any(_has(amounts, name) for amounts in causes.values())]
    rows = [
        [cause.replace("_", " "), *(_amount(getattr(amounts, name)) for name, _ in columns)]
        for cause, amounts in causes.items()
    ]
    yield from _table(["cause", *(word for _, word in columns)], rows)


def _anomalies(anomalies: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield from ("## Anomalies", "")
    for anomaly in anomalies[:ANOMALIES_SHOWN]:
        yield f"- {_time(anomaly['at'])} {_text(anomaly['agent'])}: {_text(anomaly['text'])} (position {anomaly['position']:,})"
    if len(anomalies) > ANOMALIES_SHOWN:
        yield f"- and {len(anomalies) - ANOMALIES_SHOWN:,} more"
    yield ""


def _quality(report: UsageReport) -> Iterator[str]:
    quality = report.quality
    yield from ("## Quality", "")
    rows = [
        [name, *(_measured(getattr(measure, dimension)) for dimension, _ in _NAMES), aim]
        for name, measure, aim in (
            ("utilization", quality.utilization, f"≥ {_UTILIZATION_AIM:.2f}"),
            ("fairness", quality.fairness, f"≥ {_FAIRNESS_AIM:.2f}"),
            ("Jain's index", quality.jain, ""),
        )
        if measure != Measure(None, None, None)
    ]
    if rows:
        yield from _table(["metric", *(word for _, word in _NAMES), "aim"], rows)
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


def _has(amounts: EdgeAmounts, name: str) -> bool:
    return getattr(amounts, name) is not None


def _amount(value: Number | str | None) -> str:
    """Tokens and seconds with thousands marked, dollars (which are texts) rounded to cents."""
    if value is None:
        return "–"
    return cents(exact_units(Decimal(value), 2, "cost_usd")) if isinstance(value, str) else f"{value:,}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{int(value * 100)} %"


def _measured(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _time(stamped: str) -> str:
    return f"{stamped[:10]} {stamped[11:19]}Z"


def _text(text: str) -> str:
    """A name or sentence of others, on one line and without meaning to Markdown."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in plain)
