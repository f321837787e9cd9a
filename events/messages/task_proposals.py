"""What the allocator proposes about tasks."""

import datetime as dt
from typing import ClassVar

import msgspec

from tallystick.events.messages.command import Command, Name
from tallystick.events.messages.tasks import SubmitTask


class PlaceTask(Command):
    """A submitted task with the allocator's judgement of it, to be admitted or queued in one transaction.

    ``behind`` is a waiting task that ranks higher and needs the same slot; ``recently_blocked`` are those that rank higher too, and
    were kept from starting lately by something else than slots, which may be over; ``victim`` is a running task that should
    give its slot up for it.
    """

    group: ClassVar[str] = "internal"
    submitted: SubmitTask
    aged: bool = False
    behind: Name | None = None
    recently_blocked: list[Name] = msgspec.field(default_factory=list)
    victim: Name | None = None
    expected_start: dt.datetime | None = None


class StartTask(Command):
    """The next of the queue gets a free slot."""

    group: ClassVar[str] = "internal"
    task: Name
    aged: bool = False


class PreemptTask(Command):
    """A running task gives its slot to a waiting one of a higher level, in one transaction."""

    group: ClassVar[str] = "internal"
    task: Name
    beneficiary: Name
    aged: bool = False


class ExpireLease(Command):
    """Time has passed: slots whose holders gave no sign of life are given away."""

    group: ClassVar[str] = "internal"


class RecordOverdue(Command):
    """A task has waited longer than its level allows."""

    group: ClassVar[str] = "internal"
    task: Name


class TellTask(Command):
    """Answer `GetTask`, with what the allocator expects."""

    group: ClassVar[str] = "internal"
    task: Name
    expected_start: dt.datetime | None = None


class QueueView(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a waiting task stands in the queue, for people; scores to 6 places."""

    task: Name
    score: float
    priority: float
    wait: float
    blocking: float
    aged: bool = False
    expected_start: dt.datetime | None = None


class TellQueue(Command):
    """Answer `GetQueue`, in the allocator's order."""

    group: ClassVar[str] = "internal"
    waiting: list[QueueView]
