"""`tallystick.Fleet`: the running fleet of `actors/runtime/fleet.py` with the typed interface, which makes reports from
views of its own log.
"""

from typing import Any, ClassVar

from tallystick.actors.errors import NOT_NOW
from tallystick.actors.runtime import fleet
from tallystick.actors.runtime.manager_actor import SnapshotNow
from tallystick.actors.runtime.messages import MANAGER
from tallystick.actors.runtime.reports import MakeReporter
from tallystick.interface.interface import Interface
from tallystick.interface.steps import Runner
from tallystick.reports.reporter import Reporter


class Fleet(Interface, fleet.Fleet):
    """A running fleet: agents, calls and tasks; and messages in, replies out. From threads and from asyncio."""

    default_reporter: ClassVar[MakeReporter] = Reporter
    temporary: ClassVar[frozenset[str]] = NOT_NOW

    def __init__(self, *opened: Any) -> None:
        super().__init__(*opened)
        self._runner = Runner(self)

    def retry_after(self, error: dict[str, Any]) -> float:
        """A full queue is empty again in a moment; a store that is away may be so for longer."""
        return 0.0 if error["code"] == "busy" else float(error["retry_after_seconds"])

    def keep_snapshot(self) -> None:
        """Keep the state beside the log soon, so that the next opening reads only what follows."""
        self._tell(MANAGER, SnapshotNow())

    def close(self) -> None:
        """Finish what was taken, answer, and close the store. What agents still have open ends with their leases."""
        self._runner.close()
        fleet.Fleet.close(self)
