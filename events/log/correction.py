"""What the core needs to correct usage, out of the log: the record, its last correction, and what the state forgot.

A source that is reported again is corrected, too, where it says more than before.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tallystick.events import messages as c
from tallystick.events.catalog import (
    STORED_NAME,
    BudgetAllocated,
    BudgetReleased,
    ConfigLoaded,
    DayBegan,
    Event,
    HoldSettled,
    TaskStarted,
    UsageCorrected,
    UsageReported,
)
from tallystick.events.log.lookup import Lookup, Records
from tallystick.events.log.sources import source_of
from tallystick.events.log.store import StoreError
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.paid_records import is_own, paid
from tallystick.events.state.rules import Rules

Find = Callable[[str], int | None]
"""The position at which the log says last what counts for a source; None where it is new."""
IsLarger = Callable[[Rules, c.Sourced, UsageReported | HoldSettled, UsageCorrected | None], bool]


def with_facts(
    command: c.Command,
    ledger: Ledger,
    find: Find,
    is_larger: IsLarger,
    records: Records,
    fresh: Callable[[], Sequence[Event]] = tuple,
) -> c.Command:
    """A command with all that it needs out of the log; itself where that is nothing.

    ``ledger`` is the state just before it, ``records`` the log up to then, but for the newest events, ``fresh``.
    ``find`` knows their sources, too.

    Raises:
        StoreError: the index of sources is wrong, or the log cannot be read.
    """
    if isinstance(command, c.CorrectUsage):
        return _with_record(command, ledger, find, Lookup(records, fresh()))
    source = source_of(command)
    position = None if source is None else find(source)
    if position is None or not isinstance(command, c.Sourced):
        return command
    return _with_source(command, ledger, (str(source), position), is_larger, Lookup(records, fresh()))


def _with_source(
    asked: c.Sourced, ledger: Ledger, entry: tuple[str, int], is_larger: IsLarger, log: Lookup
) -> p.ApplySource:
    """A message with what is recorded of its source; with all that a correction needs where it says more."""
    event = log.event(entry[1])
    if not isinstance(event, UsageReported | HoldSettled | UsageCorrected) or event.source_id != entry[0]:
        raise StoreError(
            f"the index of sources is wrong: it names position {entry[1]} for {entry[0]}, which is of something else."
            " Delete the table sources, and open the fleet again: it is made anew from the log"
        )
    record, last = (event.record, event) if isinstance(event, UsageCorrected) else (event, None)
    if not is_larger(ledger.rules, asked, record, last):
        return p.ApplySource(asked=asked, record=record, last=last, id=asked.id)
    found = _facts(ledger, record, last, log)
    return p.ApplySource(asked=asked, record=record, last=last, id=asked.id, **found._asdict())


def _with_record(asked: c.CorrectUsage, ledger: Ledger, find: Find, log: Lookup) -> p.ApplyCorrection:
    event = log.event(asked.position) if asked.position <= ledger.position else None
    found = None if event is None else STORED_NAME[type(event)]
    if not isinstance(event, UsageReported | HoldSettled):
        return p.ApplyCorrection(asked=asked, found=found, id=asked.id)
    corrected = ledger.corrections.get(event.position) if event.source_id is None else find(event.source_id)
    last = None if corrected is None else log.event(corrected)
    last = last if isinstance(last, UsageCorrected) else None
    found_of = _facts(ledger, event, last, log)
    return p.ApplyCorrection(asked=asked, record=event, last=last, found=found, id=asked.id, **found_of._asdict())


class _Facts(NamedTuple):
    """The openings that the state has forgotten, and the day and the model that a record counts for."""

    openings: tuple[BudgetAllocated, ...]
    day: str
    model: str | None


def _facts(ledger: Ledger, event: UsageReported | HoldSettled, last: UsageCorrected | None, log: Lookup) -> _Facts:
    openings: list[BudgetAllocated] = []

    def find(agent: str, position: int) -> BudgetAllocated | None:
        for one in log.before(position, BudgetAllocated, BudgetReleased, about=agent):
            if getattr(one, "agent", None) == agent:
                if isinstance(one, BudgetAllocated):
                    openings.append(one)
                    return one
                return None
        return None

    paid(ledger, event, find)
    day = event.counts_on or (None if last is None else last.day) or _day_of(ledger, event, log)
    return _Facts(tuple(openings), day, _model_of(ledger, event, log))


def _day_of(ledger: Ledger, record: UsageReported | HoldSettled, log: Lookup) -> str:
    """The day in which a record counts: that of the fleet's zone, or of UTC where no day had begun."""
    if record.position > ledger.day.began and ledger.day.date is not None:
        return ledger.day.date
    for event in log.before(record.position, DayBegan, ConfigLoaded):
        if isinstance(event, DayBegan | ConfigLoaded) and event.date is not None:
            return event.date
    return record.at.date().isoformat()


def _model_of(ledger: Ledger, record: UsageReported | HoldSettled, log: Lookup) -> str | None:
    """The model that a record counts for: the one it names, or the one that its agent was known to run on then.

    A settlement does not always name it, and a run of a task has one model, whether its reports say so or not.
    """
    if record.model is not None:
        return record.model
    if not is_own(record):
        return None
    agent = record.agent
    account = ledger.accounts.get(agent)
    if account is not None and account.life < record.position and account.model is None and not account.is_run:
        return None
    named: str | None = None
    for event in log.before(
        record.position, UsageReported, HoldSettled, TaskStarted, BudgetAllocated, BudgetReleased, about=agent
    ):
        if named is not None and isinstance(record, HoldSettled):
            return named
        match event:
            case BudgetReleased(agent=name) if name == agent:
                break
            case BudgetAllocated(agent=name, for_task=for_task) if name == agent:
                return named if for_task or isinstance(record, HoldSettled) else None
            case TaskStarted(task=name, model=model) if name == agent:
                named = named or model
            case UsageReported(agent=name, account=own, model=str(model)) if name == agent == own and not event.late:
                named = named or model
            case HoldSettled(agent=name, model=str(model)) if name == agent:
                named = named or model
    return named
