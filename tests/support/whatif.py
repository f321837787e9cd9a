"""Logs to ask about, written by a fleet under a test's clock; and reruns of them."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from tallystick.config.loader import from_mapping
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.catalog import rules_version
from tallystick.events.log.codec import GENESIS, decode_event, exchange_of, seal
from tallystick.events.log.store import Record
from tallystick.whatif.mismatch import Mismatch
from tallystick.whatif.question import Question
from tallystick.whatif.recorded_runs import RecordedRuns
from tallystick.whatif.reproduction import Reproduction
from tallystick.whatif.rerun import Rerun
from tallystick.whatif.steps import Step, steps_of
from tests.support.core import START
from tests.support.driving import simulated

POLICY: dict[str, Any] = {
    "total_budget": {"tokens": 10_000, "cost_usd": "100"},
    "emergency_reserve_percent": 0,
    "minimum_share_percent": 0,
    "max_pool_share_percent": 100,
    "reallocation": {"enabled": False},
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
}
"""A fleet in which nothing moves by itself."""


def policy(**changed: Any) -> Config:
    """`POLICY`, but for the sections that are named."""
    return from_mapping({**POLICY, **changed})


def log(*messages: dict[str, Any], every: float = 1, until: float = 0, **changed: Any) -> list[Record]:
    """What the fleet records of these messages, one every few seconds; each has the id ``m-N``, from 1.

    ``at`` in a message is its moment, in seconds since the start.
    """
    timed, seconds = [], 0.0
    for number, message in enumerate(messages, start=1):
        seconds = message.get("at", seconds + every)
        fields = {"id": f"m-{number}", **{name: value for name, value in message.items() if name != "at"}}
        timed.append((START + dt.timedelta(seconds=seconds), fields))
    end = START + dt.timedelta(seconds=max(seconds, until))
    return simulated(timed, policy(**changed), until=end).records


def after(seconds: float) -> dt.datetime:
    return START + dt.timedelta(seconds=seconds)


def ask(records: Iterable[Record], question: Question) -> Rerun:
    """A log put to another policy; the core is proved on what comes of it."""
    records = list(records)
    rerun = Rerun(question, RecordedRuns(steps_of(records)))
    for step in steps_of(records):
        rerun.take(step)
    rerun.finish()
    return rerun


def reproduce(records: Sequence[Record]) -> Reproduction:
    """A log of which every decision is reproduced, also one without a configuration, which names no rules."""
    reproduction = Reproduction(unmarked=rules_version.RULES_VERSION)
    for step in steps_of(records):
        assert reproduction.take(step) is None
    reproduction.finish()
    assert reproduction.facts + reproduction.decisions == len(records)
    return reproduction


def rerun_with_events(records: list[Record], question: Question) -> tuple[Rerun, list[e.Event]]:
    """A log put to another policy, and all events that come of it."""
    rerun, events = Rerun(question, RecordedRuns(steps_of(records))), []
    follow = rerun._other._happened

    def listen(batch: list[e.Event]) -> None:
        events.extend(batch)
        follow(batch)

    rerun._other._happened = listen  # type: ignore[method-assign]
    for step in steps_of(records):
        rerun.take(step)
    rerun.finish()
    return rerun, events


def events_of(records: list[Record]) -> list[e.Event]:
    return [decode_event(record.data, record.name) for record in records]


def first_mismatch(records: Iterable[Record]) -> tuple[Mismatch, Step]:
    """The first record of a log that is not reproduced."""
    reproduction = Reproduction()
    for step in steps_of(records):
        mismatch = reproduction.take(step)
        if mismatch is not None:
            return mismatch, step
    raise AssertionError("all of it was reproduced")


def configurations(records: Iterable[Record]) -> list[Config]:
    """Every configuration that was put in force in a log."""
    commands = [step.command for step in steps_of(records) if step.own]
    return [from_mapping(command.config) for command in commands if isinstance(command, c.LoadConfig)]


def sealed_again(records: Sequence[Record], position: int, change: Any, answer: bytes | None = None) -> list[Record]:
    """The log of a fleet that decided otherwise at one position; its chain is whole."""
    changed, digest = [], GENESIS
    for record in records:
        event, exchange = decode_event(record.data, record.name), exchange_of(record.data)
        asked, answered = bytes(exchange.command) or None, bytes(exchange.reply) or None
        if record.position == position:
            event = change(event)
            answered = answer or answered
        data, digest = seal(event, asked, answered, digest)
        changed.append(Record(record.position, record.name, data))
    return changed


# --- messages --------------------------------------------------------------------------------------------------------


def allocate(agent: str, tokens: int | None = None, **rest: Any) -> dict[str, Any]:
    cost = rest.pop("cost", None)
    budget = {name: value for name, value in (("tokens", tokens), ("cost_usd", cost)) if value is not None}
    return {"type": "AllocateBudget", "agent": agent, "budget": budget, **rest}


def use(agent: str, tokens: int, **rest: Any) -> dict[str, Any]:
    return {"type": "ReportUsage", "agent": agent, "usage": {"tokens": tokens}, **rest}


def run(agent: str, model: str, tokens: int, **rest: Any) -> dict[str, Any]:
    """A report that leaves its cost to the price list."""
    return {"type": "ReportUsage", "agent": agent, "model": model, "input_tokens": tokens, **rest}


def reserve(agent: str, id: str, tokens: int, **rest: Any) -> dict[str, Any]:
    return {"type": "Reserve", "agent": agent, "id": id, "estimate": {"tokens": tokens}, **rest}


def settle(hold: str, tokens: int, **rest: Any) -> dict[str, Any]:
    return {"type": "Settle", "hold": hold, "usage": {"tokens": tokens}, **rest}


def borrow(agent: str, tokens: int, **rest: Any) -> dict[str, Any]:
    return {"type": "BorrowFromPool", "agent": agent, "amount": {"tokens": tokens}, **rest}


USED_UP = (allocate("ann", 1_000), use("ann", 960), use("ann", 100))
"""More messages than the budget allows."""
