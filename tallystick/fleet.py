"""`tallystick.Fleet`: the running fleet of `actors/runtime/fleet.py`, which makes reports from views of its own log."""

from typing import ClassVar

from tallystick.actors.runtime import fleet
from tallystick.actors.runtime.reports import MakeReporter
from tallystick.reports.reporter import Reporter


class Fleet(fleet.Fleet):
    """A running fleet: messages in, replies out, from threads and from asyncio."""

    default_reporter: ClassVar[MakeReporter] = Reporter
