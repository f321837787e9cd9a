"""What the core needs to correct usage: the event at the named position, out of the log or the batch at hand."""

from collections.abc import Sequence
from typing import Any

from tallystick.events import messages as c
from tallystick.events.catalog import STORED_NAME, Event, HoldSettled, UsageReported
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store import Store
from tallystick.events.messages import proposals as p


def with_record(asked: c.CorrectUsage, lines: Sequence[tuple[Event, Any, Any]], store: Store) -> p.ApplyCorrection:
    """A correction with its record. ``lines`` is what was decided and is not in the store yet."""
    event: Event | None
    if lines and asked.position >= lines[0][0].position:
        place = asked.position - lines[0][0].position
        event = lines[place][0] if place < len(lines) else None
    else:
        record = store.record(asked.position)
        event = None if record is None else decode_event(record.data, record.name)
    usage = event if isinstance(event, UsageReported | HoldSettled) else None
    found = None if event is None else STORED_NAME[type(event)]
    return p.ApplyCorrection(asked=asked, record=usage, found=found, id=asked.id)
