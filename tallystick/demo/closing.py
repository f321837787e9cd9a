"""The summary for people."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from tallystick.config.amounts import COST, TOKENS, cents, dollars
from tallystick.demo.agent import Agent, Outcome
from tallystick.demo.screen import percentile
from tallystick.demo.summary import LEVELS_REACHED, Summary, consumed_of_spendable
from tallystick.events.state.money import Money, money, plus
from tallystick.projections.reports.cost import limits_of
from tallystick.wording import compact, minutes_and_seconds, short_amounts

SHOWN: Final = 8
"""Of those for whom the budget was too small, so many have a line of their own."""
_UTILIZATION = 0.85


def tell(console: Console, summary: Summary, try_next: Sequence[str]) -> None:
    """Print the summary."""
    workload = summary.workload
    console.print(f"{workload.title}, {workload.steps:,} steps", style="bold")
    console.print(workload.note, style="dim")
    if summary.interrupted:
        console.print(f"Ended early: {summary.count(Outcome.RUNNING)} agents had not finished.", style="yellow")
    _tell_left_out(console, summary)
    _tell_figures(console, summary)
    _tell_proof(console, summary)
    console.print(Rule("try next", align="left", style="grey37"))
    for command in try_next:
        console.print(Text("  " + command, style="bold cyan"), soft_wrap=True)


def _tell_left_out(console: Console, summary: Summary) -> None:
    left_out = summary.left_out
    console.print(Rule("for whom it was too small", align="left", style="grey37"))
    finished = f"{summary.count(Outcome.FINISHED)} of {len(summary.agents)} runs finished"
    if not left_out:
        console.print(f"  {finished}; the budget was enough for all.")
        return
    lacked: Money = (0, 0, 0)
    for agent in left_out:
        lacked = plus(lacked, agent.lacked)
    console.print(f"  {finished}; {len(left_out)} did not: they lacked {_needed(lacked)}.")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    table.add_column("  task", no_wrap=True, overflow="ellipsis", max_width=28)
    table.add_column("priority", no_wrap=True, min_width=8)
    for name in ("  steps run", "tokens short", "$ short"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for agent in left_out[:SHOWN]:
        tokens, _, cost = agent.lacked
        table.add_row(f"  {agent.run.id}", agent.run.priority, _progress(agent), compact(tokens), cents(cost))
    console.print(table)
    if len(left_out) > SHOWN:
        console.print(f"  … and {len(left_out) - SHOWN} more", style="dim")


def _progress(agent: Agent) -> str:
    if agent.outcome is Outcome.REFUSED:
        return "no slot"
    return f"{agent.done} of {len(agent.run.steps)}"


def _needed(units: Money) -> str:
    return short_amounts((units[TOKENS], None, units[COST]))


def _tell_figures(console: Console, summary: Summary) -> None:
    """What was done about it, one line each."""
    tally, took = summary.tally, summary.took

    def moved(how: str) -> str:
        return _needed(tally.moved(how).amount)

    _tell_slots(console, summary)
    console.print(Rule("what the fleet did", align="left", style="grey37"))
    throttled, stopped = (
        sum(getattr(agent, name) for agent in summary.agents) // 60_000 for name in ("throttled_ms", "stopped_ms")
    )
    reached = ", ".join(f"{level} {tally.reached(level)}" for level in LEVELS_REACHED)
    rate = tally.events / max(summary.seconds, 0.001)
    lines = [
        ("levels reached", f"{reached}; {len(tally.warned_early)} warned early"),
        ("waiting", f"{throttled} minutes throttled, {stopped} minutes stopped, of all agents"),
        ("given back", f"{moved('given_back_when_stopped')} when stopped"),
        ("unused", f"{moved('unused_at_release')} went back when agents left"),
        ("borrowed", f"{moved('borrowed')} on request ({tally.moved('borrowed').times} times)"),
        (
            "overruns",
            f"{moved('overruns_covered')} covered by pool and reserve ({tally.moved('overruns_covered').times} times)",
        ),
        ("reserve", f"{moved('taken_from_reserve')} taken; overdraft {moved('taken_as_overdraft')}"),
        ("fleet", " → ".join(("at ease", *tally.responses)).replace("_", " ")),
        *_qualities(summary),
        (
            "stored",
            f"{tally.events:,} events in {summary.seconds:.1f} s: {rate:,.0f} a second",
        ),
        (
            "answered",
            f"in {percentile(took, 0.5) * 1000:.1f} ms at the median, {percentile(took, 0.99) * 1000:.1f} ms at p99",
        ),
    ]
    _print(console, lines)


def _print(console: Console, lines: Sequence[tuple[str, str]]) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True, min_width=16)
    table.add_column()
    for name, told in lines:
        table.add_row(f"  {name}", told)
    console.print(table)


def _tell_slots(console: Console, summary: Summary) -> None:
    """How the tasks came to their slots, and what the day has cost."""
    slots, day = summary.slots, summary.day
    ran, (token_limit, cost_limit), used_today = len(slots.waited_ms), limits_of(day), money(day.used.triple)
    taken = "" if slots.utilization is None else f", {slots.utilization * 100:.0f} % of their time taken"
    today = cents(used_today[COST]) + ("" if cost_limit is None else f" of {cents(cost_limit)}")
    if token_limit is not None:
        today += f", {compact(used_today[TOKENS])} of {compact(token_limit)} tokens"
    alerts = ", ".join(f"{code.replace('_', ' ')} {count}" for code, count in sorted(summary.tally.alerts.items()))
    console.print(Rule("slots and queue", align="left", style="grey37"))
    waited = f"{slots.that_waited} of the {ran} that ran: {_minutes(slots.average_wait_ms)} on average"
    if slots.that_waited:
        waited += f", {_minutes(slots.longest_wait_ms)} at most"
    preempted = summary.tally.kinds["TaskPreempted"]
    lines = [
        ("tasks", ", ".join(f"{count} {how}" for how, count in slots.ended.most_common())),
        ("slots", f"{'no limit' if slots.slots is None else slots.slots}{taken}; {preempted} preempted"),
        ("waited", waited),
        ("today", today + ("; the breaker is open" if day.breaker is not None else "")),
        ("alerts", alerts or "none"),
    ]
    _print(console, lines)


def _minutes(ms: int) -> str:
    return f"{minutes_and_seconds(ms // 1000)} minutes"


def _qualities(summary: Summary) -> list[tuple[str, str]]:
    quality = summary.quality
    if quality is None:
        return []
    of_spendable = consumed_of_spendable(summary)
    named = [(name, word) for name, word in (("tokens", "tokens"), ("cost_usd", "cost")) if name in of_spendable]

    def both(measure: object) -> str:
        values = [(word, getattr(measure, name)) for name, word in named]
        return ", ".join(f"{word} {value:.2f}" for word, value in values if value is not None)

    used = ", ".join(f"{word} {of_spendable[name]:.2f}" for name, word in named)
    return [
        ("utilization", f"{both(quality.utilization)} of what was allocated (aim {_UTILIZATION:.2f})"),
        ("used", f"{used} of total less reserve"),
    ]


def _tell_proof(console: Console, summary: Summary) -> None:
    proof = summary.proof
    console.print(Rule("every token and nano-dollar", align="left", style="grey37"))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    table.add_column("")
    for name in ("tokens", "dollars"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = [("agents reported", proof.reported), ("the log, read again", proof.recorded), ("the ledger", proof.ledger)]
    if any(proof.priced):
        rows.insert(1, ("priced by the fleet", proof.priced))
    for name, units in rows:
        table.add_row(f"  {name}", f"{units[TOKENS]:,}", dollars(units[COST]))
    console.print(table)
    if proof.problem is not None:
        console.print(Text(f"  NOT accounted for: {proof.problem}", style="bold red"), soft_wrap=True)
        return
    console.print(Text("  All accounted for.", style="bold green"))
    console.print(f"  {proof.position:,} events were replayed from the first, each proved to follow the last.")
    console.print("  In every account, what was granted is free, held, handed on or spent.")
    console.print(f"  digest {proof.digest}", soft_wrap=True)
    console.print(f"  kept in {summary.store}", soft_wrap=True)
