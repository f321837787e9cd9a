"""Sources in the other history: what is recorded of each there, which may have come from another message."""

from collections.abc import Sequence
from typing import NamedTuple

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.sources import source_of
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger


class Recorded(NamedTuple):
    """What is recorded of a source: the record, its last correction, and the day and the model that it counts for."""

    record: e.UsageReported | e.HoldSettled
    last: e.UsageCorrected | None
    day: str
    model: str | None


class Sources:
    """What is recorded of each source."""

    def __init__(self) -> None:
        self._found: dict[str, Recorded] = {}

    def follow(self, events: Sequence[e.Event], ledger: Ledger) -> None:
        """Take in what has just happened; the ledger has followed it."""
        for event in events:
            if isinstance(event, e.UsageReported | e.HoldSettled) and event.source_id is not None:
                found = Recorded(event, None, event.counts_on or "", model_of(ledger, event))
                self._found[event.source_id] = found
            elif isinstance(event, e.UsageCorrected) and event.source_id is not None:
                before = self._found.get(event.source_id)
                model = event.model if before is None else before.model
                self._found[event.source_id] = Recorded(event.record, event, event.day, model)

    def find(self, source: str | None) -> Recorded | None:
        """What is recorded of a source; None where that is nothing."""
        return None if source is None else self._found.get(source)

    def with_facts(self, command: c.Command) -> c.Command:
        """A message with what is recorded of its source; itself where that is nothing."""
        found = self.find(source_of(command))
        if found is None or not isinstance(command, c.Sourced):
            return command
        return p.ApplySource(asked=command, id=command.id, **found._asdict())


def model_of(ledger: Ledger, event: e.UsageReported | e.HoldSettled) -> str | None:
    """The model that usage counts for that has just been recorded."""
    account = None if event.account is None else ledger.accounts.get(event.account)
    if event.model is not None or account is None or not (account.is_run or isinstance(event, e.HoldSettled)):
        return event.model
    task = ledger.tasks.running.get(account.id)
    return account.model or (None if task is None else task.model)
