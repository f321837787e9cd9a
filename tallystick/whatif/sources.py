"""Sources in the other history: what is recorded of each there, which may have come from another message."""

from collections.abc import Sequence

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.sources import source_of
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger
from tallystick.whatif.corrections import model_of


class Sources:
    """The newest record of each source, or the newest correction of that."""

    def __init__(self) -> None:
        self._records: dict[str, tuple[e.UsageReported | e.HoldSettled, str | None]] = {}
        """With the model that it counts for."""
        self._last: dict[str, e.UsageCorrected] = {}

    def follow(self, events: Sequence[e.Event], ledger: Ledger) -> None:
        """Take in what has just happened; the ledger has followed it."""
        for event in events:
            if isinstance(event, e.UsageReported | e.HoldSettled) and event.source_id is not None:
                self._records[event.source_id] = (event, model_of(ledger, event))
            elif isinstance(event, e.UsageCorrected) and event.source_id is not None:
                self._last[event.source_id] = event

    def with_facts(self, command: c.Command) -> c.Command:
        """A message with what is recorded of its source; itself where that is nothing."""
        source = source_of(command)
        if source is None or not isinstance(command, c.Sourced):
            return command
        last, found = self._last.get(source), self._records.get(source)
        if last is not None:
            return p.ApplySource(asked=command, record=last.record, last=last, day=last.day, id=command.id)
        if found is None:
            return command
        record, model = found
        return p.ApplySource(asked=command, record=record, day=record.counts_on or "", model=model, id=command.id)
