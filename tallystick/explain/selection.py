"""Which events of a log are meant: of an agent or a task, of some types, refusals alone, between two moments."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from tallystick.events import catalog as e
from tallystick.events.catalog import CATALOG
from tallystick.events.log.store import PAGE, Record, Store
from tallystick.projections.store.as_of import position_by
from tallystick.projections.store.projector import event_in

TYPES: Final[Mapping[str, type[e.Event]]] = {str(cls.__struct_config__.tag).rpartition(".")[0]: cls for cls in CATALOG}
"""Each class of event by its stored name without the version, as it is typed: ``level-changed``."""
REFUSALS: Final = (e.RequestRefused, e.TaskRejected)
"""What says that something was asked for and not given."""
_AGENTS: Final = ("agent", "source", "target", "parent", "charged")
_NAMES: Final = (*_AGENTS, "task", "beneficiary")
"""The fields of an event that name an agent, or an agent or a task."""

Bound = int | dt.datetime | None
"""A position, a time, or none."""


def concerns(event: e.Event, name: str, fields: Iterable[str] = _NAMES) -> bool:
    """Whether an event names an agent or a task."""
    return any(getattr(event, field, None) == name for field in fields)


class Selection(NamedTuple):
    """What an event must be to be meant; with the defaults every event is.

    ``task`` takes what happened to the account of the task's run, too, which has the task's name; ``agent`` takes no
    other events of tasks. ``since`` and ``until`` count themselves.
    """

    agent: str | None = None
    task: str | None = None
    types: frozenset[type[e.Event]] = frozenset()
    refused: bool = False
    since: Bound = None
    until: Bound = None

    def takes(self, event: e.Event) -> bool:
        """Whether an event is one of them."""
        return (
            (not self.types or type(event) in self.types)
            and (not self.refused or isinstance(event, REFUSALS))
            and (self.agent is None or concerns(event, self.agent, _AGENTS))
            and (self.task is None or concerns(event, self.task))
            and not self._is_before(event)
            and not self._is_behind(event)
        )

    def _is_before(self, event: e.Event) -> bool:
        match self.since:
            case int(position):
                return event.position < position
            case dt.datetime() as at:
                return event.at < at
        return False

    def _is_behind(self, event: e.Event) -> bool:
        match self.until:
            case int(position):
                return event.position > position
            case dt.datetime() as at:
                return event.at > at
        return False

    def bounds(self, store: Store) -> tuple[int, int | None]:
        """Behind which position and up to which they lie; None is the log's end.

        Raises:
            BrokenChain: a record cannot be read.
        """
        return (
            position_by(store, self.since, before=True)
            if isinstance(self.since, dt.datetime)
            else (self.since or 1) - 1,
            position_by(store, self.until) if isinstance(self.until, dt.datetime) else self.until,
        )

    def among(self, records: Iterable[Record]) -> Iterator[tuple[Record, e.Event]]:
        """The records that are meant, with their events.

        Raises:
            BrokenChain: a record cannot be read.
        """
        about = [msgspec.json.encode(name) for name in (self.agent, self.task) if name is not None]
        for record in records:
            if all(name in record.data for name in about):
                event = event_in(record, record.position)
                if self.takes(event):
                    yield record, event


def newest(store: Store, selection: Selection, count: int, upto: int, behind: int = 0) -> list[tuple[Record, e.Event]]:
    """The last ``count`` of the selected events behind a position and up to one, in order; read backwards."""
    found: list[tuple[Record, e.Event]] = []
    while upto > behind and len(found) < count:
        after = max(behind, upto - PAGE)
        found = [*selection.among(store.read(after, upto)), *found]
        upto = after
    return found[-count:]
