"""Tasks as the policies of admission see them: what waits, what runs, and what the limits tell apart."""

import datetime as dt
from typing import Final, NamedTuple

import msgspec

from tallystick.config.kinds import Priority
from tallystick.events.messages.command import PRIORITIES

LEVEL: Final = {priority: level for level, priority in enumerate(PRIORITIES)}
"""The priorities by height: 0 is the highest, critical."""


class Kind(NamedTuple):
    """What limits and ranking tell apart: tasks of one kind start under the same conditions.

    ``parent`` is the account that pays for them (None is the pool): one that is empty must not hold up the others.
    """

    product: str
    agent_type: str
    priority: Priority
    parent: str | None = None


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """A task that waits for a slot. ``number`` is the order of submission, no two alike.

    ``queued_at`` is when its dependencies were met, and stays when it loses its slot. ``blocked`` is how many tasks
    wait for it.
    """

    task: str
    kind: Kind
    queued_at: dt.datetime
    number: int
    blocked: int = 0


class Running(msgspec.Struct, frozen=True, gc=False):
    """A task that holds a slot since ``started_at``.

    ``admitted_aged``: it was aged when it started. ``last_preempted_at`` is when it last lost a slot to a higher
    priority. ``ends_at`` is when it is expected to end, None where that is not known.
    """

    task: str
    kind: Kind
    started_at: dt.datetime
    admitted_aged: bool = False
    last_preempted_at: dt.datetime | None = None
    ends_at: dt.datetime | None = None
