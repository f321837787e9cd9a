"""A what-if, for people."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from tallystick.cli.common import console
from tallystick.config.amounts import Triple
from tallystick.events import catalog as e
from tallystick.events.decide.levels import DEGRADE, STOP, THROTTLE
from tallystick.events.state.accounts import Money
from tallystick.whatif.agent_histories import AgentHistories, AgentHistory
from tallystick.whatif.answer import Agent, Span, agents_that_differ, assumptions, changes, total_saved
from tallystick.whatif.reproduction import Reproduction
from tallystick.whatif.rerun import Rerun
from tallystick.whatif.task_statistics import Waits, Work
from tallystick.wording import NONE, and_more, counted, one_line, rounded_amounts, shown_time

_SHOWN = 20
"""Agents in the table; the JSON has all."""
_MS_PER_MINUTE = 60_000
_DONE = {THROTTLE: "throttled", DEGRADE: "degraded", STOP: "stopped"}


def tell_check(span: Span, reproduction: Reproduction, why: Mapping[str, Any] | None) -> Iterator[str]:
    """The proof that a log's own policy leads to its own decisions, line by line."""
    same = why is None
    yield _line("log", f"{span.position:,} events, {_times(span)}" if same else "not read to its end")
    yield _line("asked again", f"{reproduction.messages:,} messages, by the policy that was in force")
    yield _line("facts", f"{reproduction.facts:,} kept")
    yield _line(
        "decisions",
        f"{reproduction.decisions:,} made anew{', all as recorded, and so are the replies' if same else ' as recorded'}",
    )
    if same:
        yield _line("digest", f"{span.position}:{span.digest}, as recorded")
    else:
        yield from _difference(why or {})
    yield _line("result", "the same" if same else "not the same")


def _line(name: str, text: str) -> str:
    return f"{name:<13} {text}"


def _times(span: Span) -> str:
    assert span.first_at is not None
    assert span.last_at is not None
    return f"{shown_time(span.first_at)} to {shown_time(span.last_at)}"


def tell_answer(span: Span, rerun: Rerun, first: Mapping[str, Any] | None) -> None:
    """Print what would have differed."""
    screen = console()
    click.echo(_line("log", f"{span.position:,} events, {_times(span)}"))
    click.echo(_line("asked anew", f"{rerun.messages:,} messages"))
    changed = list(changes(rerun))
    for key, log, other in changed[:_SHOWN]:
        click.echo(one_line(_line("otherwise", f"{key}: {other} instead of {log}")))
    for line in and_more(len(changed), _SHOWN, " settings: --json has all"):
        click.echo(_line("", line))
    differing = agents_that_differ(rerun)
    if first is None and not differing:
        click.echo(_line("result", "nothing would have been decided otherwise"))
    else:
        click.echo()
        screen.print(_fleet_table(rerun))
        if differing:
            click.echo()
            screen.print(_agents_table(rerun, differing, span))
        for line in and_more(len(differing), _SHOWN, ": --json has all"):
            click.echo(line)
    if first is not None:
        click.echo("\nthe first decision that differs")
        for line in _difference(first):
            click.echo(one_line(line))
    click.echo("\nassumed")
    for sentence in assumptions(rerun):
        click.echo(f"  - {sentence}")


# --- the fleet -------------------------------------------------------------------------------------------------------


def _fleet_table(rerun: Rerun) -> Table:
    log, other, fates = rerun.recorded, rerun.made, rerun.fates
    table = Table(box=None, pad_edge=False)
    for column in ("", "in the log", "what if"):
        table.add_column(column, overflow="fold")
    saved = sum(one.reports for one in fates.saved.values())
    rows = [
        ("used", _some(log.used), _some(other.used)),
        ("saved", "", f"{_some(total_saved(fates))} in {counted(saved, 'report')}" if saved else ""),
        *(
            (f"agents {word}", _count(log.reached(action)), _count(other.reached(action)))
            for action, word in _DONE.items()
        ),
        ("top-ups", _top_ups(log), _top_ups(other)),
        *_by_code("refused", log.refused, other.refused),
        *_by_code("alert", log.alerts, other.alerts),
        *((f"fleet: {name}", _first(log, name), _first(other, name)) for name in e.RESPONSES[1:]),
        *_work(log.work, other.work),
        ("largest debt", _some(log.overdraft), _some(other.overdraft)),
        ("from reserve", _some(log.from_reserve), _some(other.from_reserve)),
    ]
    for name, theirs, ours in rows:
        if theirs or ours:
            table.add_row(name, theirs or NONE, ours or NONE)
    return table


def _some(units: "list[int] | Money") -> str:
    """Amounts for people, without the dimensions in which there is nothing."""
    some: Triple = (units[0] or None, units[1] or None, units[2] or None)
    return rounded_amounts(some) if any(some) else ""


def _count(count: int) -> str:
    return f"{count:,}" if count else ""


def _top_ups(courses: AgentHistories) -> str:
    return f"{courses.grants:,}: {_some(courses.granted)}" if courses.grants else ""


def _by_code(what: str, log: Mapping[str, int], other: Mapping[str, int]) -> Iterator[tuple[str, str, str]]:
    for code in sorted(log.keys() | other.keys()):
        yield f"{what}: {code}", _count(log.get(code, 0)), _count(other.get(code, 0))


_TOLD = {
    "completed": "tasks completed",
    "failed": "tasks failed",
    "cancelled": "tasks cancelled",
    "rejected": "tasks rejected",
    "running": "tasks that still run",
    "waiting": "tasks that still wait",
    "preempted": "slots taken away",
    "lease_lost": "leases lost",
    "overdue": "waited too long",
    "breaker_tripped": "breaker trips",
}
"""What is counted of tasks, in the words of the table."""


def _work(log: Work, other: Work) -> Iterator[tuple[str, str, str]]:
    """What became of the tasks."""
    for what, words in _TOLD.items():
        yield words, _count(log.counts[what]), _count(other.counts[what])
    if log.counts["submitted"] or other.counts["submitted"]:
        yield "slots in use", _share(log.utilization), _share(other.utilization)
        yield "waits", _waited(log.waits), _waited(other.waits)
    nobody = Waits()
    for product in sorted(log.by_product.keys() | other.by_product.keys()):
        theirs, ours = log.by_product.get(product, nobody), other.by_product.get(product, nobody)
        yield one_line(f"waits: {product}"), _waited(theirs), _waited(ours)


def _share(share: float | None) -> str:
    return "" if share is None else f"{share * 100:.1f} %"


def _waited(waits: Waits) -> str:
    """The average and the longest, in minutes."""
    if not waits.started and not waits.waiting:
        return ""
    average = NONE if waits.average_ms is None else f"{waits.average_ms / _MS_PER_MINUTE:.1f}"
    return f"{average} min, at most {waits.longest_ms / _MS_PER_MINUTE:.1f}"


def _first(courses: AgentHistories, response: str) -> str:
    """When the fleet's response first was this."""
    at = courses.responses.get(response)
    return "" if at is None else shown_time(at)


# --- the agents ------------------------------------------------------------------------------------------------------


def _agents_table(rerun: Rerun, differing: list[Agent], span: Span) -> Table:
    """Two lines for each agent; of what happened several times, when it happened first."""
    seen = len(rerun.recorded.agents.keys() | rerun.made.agents.keys())
    title = f"{len(differing):,} of {seen:,} agents would have fared otherwise"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for column in ("agent", "", "throttled", "degraded", "stopped", "warned", "topped up", "used"):
        table.add_column(column, overflow="fold")
    time = _time_of_day if _is_of_a_day(span) else shown_time
    for agent in differing[:_SHOWN]:
        table.add_row(Text(one_line(agent.id)), "in the log", *_cells(agent.recorded, time))
        table.add_row("", "what if", *_cells(agent.made, time))
    return table


def _cells(course: AgentHistory, time: Callable[[dt.datetime], str]) -> list[str]:
    happened = [(course.first_at[action], course.times[action]) for action in _DONE]
    happened += [(course.warned_at, course.warnings), (course.topped_up_at, course.grants)]
    cells = [NONE if at is None else time(at) + (f" {times}×" if times > 1 else "") for at, times in happened]
    used = _some(course.used) or "nothing"
    return [*cells, used if course.opened_at is not None else f"{used}; never had an account"]


def _is_of_a_day(span: Span) -> bool:
    assert span.first_at is not None
    assert span.last_at is not None
    return span.first_at.date() == span.last_at.date()


def _time_of_day(at: dt.datetime) -> str:
    return f"{at:%H:%M:%S}"


# --- the first difference --------------------------------------------------------------------------------------------


def _difference(first: Mapping[str, Any]) -> Iterator[str]:
    yield f"  {first['difference']}"
    for name, side in (("in the log", first["recorded"]), ("what if", first["what_if"])):
        yield f"  {name:<11} {side['text']}"
        for line in side["why"]:
            yield f"  {'':<11}   {line}"
