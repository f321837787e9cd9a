"""What the core needs to correct usage, out of the log: the record, its last correction, and what the state forgot."""

from collections.abc import Sequence

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
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.paid_records import is_own, paid


def with_record(
    asked: c.CorrectUsage, ledger: Ledger, records: Records, fresh: Sequence[Event] = ()
) -> p.ApplyCorrection:
    """A correction with all that is to be known of its record.

    ``ledger`` is the state just before it, ``records`` the log up to then, but for the newest events, ``fresh``.
    """
    log = Lookup(records, fresh)
    event = log.event(asked.position) if asked.position <= ledger.position else None
    found = None if event is None else STORED_NAME[type(event)]
    if not isinstance(event, UsageReported | HoldSettled):
        return p.ApplyCorrection(asked=asked, found=found, id=asked.id)
    corrected = ledger.corrections.get(event.position)
    last = None if corrected is None else log.event(corrected)
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
    return p.ApplyCorrection(
        asked=asked,
        record=event,
        last=last if isinstance(last, UsageCorrected) else None,
        openings=tuple(openings),
        day=_day_of(ledger, event, log),
        model=_model_of(ledger, event, log),
        found=found,
        id=asked.id,
    )


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
