"""A what-if as people read it: lines and tables, in the order in which they are printed."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from tallystick.events import catalog as e
from tallystick.events.decide.levels import DEGRADE, STOP, THROTTLE
from tallystick.events.state.money import Money
from tallystick.whatif.agent_histories import AgentHistories, AgentHistory
from tallystick.whatif.answer import Agent, Span, agents_that_differ, changes
from tallystick.whatif.assumptions import assumptions
from tallystick.whatif.reproduction import Reproduction
from tallystick.whatif.rerun import Rerun
from tallystick.whatif.stretches import not_compared
from tallystick.whatif.task_statistics import TaskStatistics, Waits
from tallystick.wording import NONE, and_more, counted, one_line, rounded_amounts, shown_time

_SHOWN = 20
"""Agents and settings that are shown; the JSON has all."""
_MS_PER_MINUTE = 60_000
_ACTIONS = {THROTTLE: "throttled", DEGRADE: "degraded", STOP: "stopped"}
_TASKS = {
    "completed": "tasks completed",
    "failed": "tasks failed",
    "cancelled": "tasks cancelled",
    "rejected": "tasks rejected",
    "running": "tasks still running",
    "waiting": "tasks still waiting",
    "preempted": "slots taken away",
    "lease_lost": "leases lost",
    "overdue": "waited too long",
    "breaker_tripped": "breaker trips",
}
"""What is counted of tasks, in the words of the table."""


def show_check(span: Span, reproduction: Reproduction, first: Mapping[str, Any] | None) -> Iterator[str]:
    """Whether a log's own policy leads to its own decisions. ``first`` explains the first difference, if there is
    one.
    """
    same = first is None
    is_whole = same and not reproduction.stretches.others
    as_recorded = ", all as recorded, and so are the replies" if is_whole else " as recorded"
    yield _line("log", f"{span.position:,} events, {_times(span)}" if same else "not read to its end")
    yield _line("messages", f"{reproduction.messages:,} decided again, by the policy that was in force")
    yield _line("facts", f"{reproduction.facts:,} kept")
    yield _line("decisions", f"{reproduction.decisions:,} made again{as_recorded}")
    for stretch in reproduction.stretches.others:
        yield _line("other rules", not_compared(stretch))
    if reproduction.reworded:
        words = counted(reproduction.reworded, "record")
        yield _line(
            "sentences", f"in {words} the log has other words for people than this version; all else is the same"
        )
    if first is None:
        yield _line("digest", f"{span.position}:{span.digest}, as recorded")
    else:
        yield from _difference(first)
    alike = "the same" if is_whole else "the same, as far as it was compared"
    yield _line("result", alike if same else "not the same")


def show_answer(span: Span, rerun: Rerun, first: Mapping[str, Any] | None) -> Iterator[str | Table]:
    """What would have differed. ``first`` explains the first decision that differs, if there is one."""
    yield _line("log", f"{span.position:,} events, {_times(span)}")
    yield _line("messages", f"{rerun.messages:,} decided again")
    changed = list(changes(rerun))
    yield from (_line("changed", f"{key}: {other} instead of {log}") for key, log, other in changed[:_SHOWN])
    yield from (_line("", line) for line in and_more(len(changed), _SHOWN, " settings: --json has all"))
    differing = agents_that_differ(rerun)
    if first is None and not differing:
        yield _line("result", "nothing would have been decided differently")
    else:
        yield ""
        yield _fleet_table(rerun)
        if differing:
            yield ""
            yield _agents_table(rerun, differing, span)
        yield from and_more(len(differing), _SHOWN, ": --json has all")
    if first is not None:
        yield ""
        yield "the first decision that differs"
        yield from _difference(first)
    yield ""
    yield "assumptions"
    yield from (f"  - {sentence}" for sentence in assumptions(rerun))


def _line(name: str, text: str) -> str:
    return f"{name:<13} {text}"


def _times(span: Span) -> str:
    assert span.first_at is not None
    assert span.last_at is not None
    return f"{shown_time(span.first_at)} to {shown_time(span.last_at)}"


def _difference(first: Mapping[str, Any]) -> Iterator[str]:
    yield f"  {first['difference']}"
    for name, side in (("in the log", first["recorded"]), ("what if", first["what_if"])):
        yield f"  {name:<11} {side['text']}"
        for line in side["why"]:
            yield f"  {'':<11}   {line}"


# --- the fleet -------------------------------------------------------------------------------------------------------


def _fleet_table(rerun: Rerun) -> Table:
    log, other, saved = rerun.recorded, rerun.other, rerun.message_filter.saved_in_all
    table = Table(box=None, pad_edge=False)
    for column in ("", "in the log", "what if"):
        table.add_column(column, overflow="fold")
    rows = [
        ("used", _some(log.used), _some(other.used)),
        ("saved", "", f"{_some(saved.used)} in {counted(saved.reports, 'report')}" if saved.reports else ""),
        *(
            (f"agents {word}", _count(log.reached(action)), _count(other.reached(action)))
            for action, word in _ACTIONS.items()
        ),
        ("top-ups", _top_ups(log), _top_ups(other)),
        *_by_code("refused", log.refused, other.refused),
        *_by_code("alert", log.alerts, other.alerts),
        *((f"fleet: {name}", _first_time(log, name), _first_time(other, name)) for name in e.RESPONSES[1:]),
        *_task_rows(log.tasks, other.tasks),
        ("largest debt", _some(log.overdraft), _some(other.overdraft)),
        ("from reserve", _some(log.from_reserve), _some(other.from_reserve)),
    ]
    for name, in_log, what_if in rows:
        if in_log or what_if:
            table.add_row(name, in_log or NONE, what_if or NONE)
    return table


def _some(units: Money) -> str:
    """Amounts without the dimensions in which there is nothing."""
    return rounded_amounts((units[0] or None, units[1] or None, units[2] or None)) if any(units) else ""


def _count(count: int) -> str:
    return f"{count:,}" if count else ""


def _top_ups(histories: AgentHistories) -> str:
    return f"{histories.grants:,}: {_some(histories.granted)}" if histories.grants else ""


def _by_code(what: str, log: Mapping[str, int], other: Mapping[str, int]) -> Iterator[tuple[str, str, str]]:
    for code in sorted(log.keys() | other.keys()):
        yield f"{what}: {code}", _count(log.get(code, 0)), _count(other.get(code, 0))


def _first_time(histories: AgentHistories, response: str) -> str:
    """When a response of the fleet was first in force."""
    at = histories.responses.get(response)
    return "" if at is None else shown_time(at)


def _task_rows(log: TaskStatistics, other: TaskStatistics) -> Iterator[tuple[str, str, str]]:
    for what, words in _TASKS.items():
        yield words, _count(log.counts[what]), _count(other.counts[what])
    if log.counts["submitted"] or other.counts["submitted"]:
        yield "slots in use", _share(log.utilization), _share(other.utilization)
        yield "waits", _waited(log.waits), _waited(other.waits)
    none = Waits()
    for product in sorted(log.by_product.keys() | other.by_product.keys()):
        waits = log.by_product.get(product, none), other.by_product.get(product, none)
        yield one_line(f"waits: {product}"), _waited(waits[0]), _waited(waits[1])


def _share(share: float | None) -> str:
    return "" if share is None else f"{share * 100:.1f} %"


def _waited(waits: Waits) -> str:
    """The average and the longest, in minutes."""
    if not waits.started and not waits.waiting:
        return ""
    average = NONE if waits.average_ms is None else f"{waits.average_ms / _MS_PER_MINUTE:.1f}"
    return f"{average} min, at most {waits.longest_ms / _MS_PER_MINUTE:.1f}"


# --- the agents ------------------------------------------------------------------------------------------------------


def _agents_table(rerun: Rerun, differing: list[Agent], span: Span) -> Table:
    """Two lines for each agent; of what happened several times, when it happened first."""
    seen = len(rerun.recorded.agents.keys() | rerun.other.agents.keys())
    title = f"{len(differing):,} of {seen:,} agents would have been affected"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for column in ("agent", "", *_ACTIONS.values(), "warned", "topped up", "used"):
        table.add_column(column, overflow="fold")
    assert span.first_at is not None
    assert span.last_at is not None
    time = _time_of_day if span.first_at.date() == span.last_at.date() else shown_time
    for agent in differing[:_SHOWN]:
        table.add_row(Text(one_line(agent.id)), "in the log", *_cells(agent.recorded, time))
        table.add_row("", "what if", *_cells(agent.other, time))
    return table


def _cells(history: AgentHistory, time: Callable[[dt.datetime], str]) -> list[str]:
    happened = [(history.first_at[action], history.times[action]) for action in _ACTIONS]
    happened += [(history.warned_at, history.warnings), (history.topped_up_at, history.grants)]
    cells = [NONE if at is None else time(at) + (f" {times}×" if times > 1 else "") for at, times in happened]
    used = _some(history.used) or "nothing"
    return [*cells, used if history.opened_at is not None else f"{used}; never had an account"]


def _time_of_day(at: dt.datetime) -> str:
    return f"{at:%H:%M:%S}"
