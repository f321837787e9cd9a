"""The specialists that every fleet has, and how each is set to work."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pykka

from tallystick.actors.enforcer import Enforcer
from tallystick.actors.reallocator import Reallocator
from tallystick.actors.runtime.guest import Guest, Host
from tallystick.actors.runtime.messages import TRACKER, Post
from tallystick.actors.runtime.specialist import Crashed, Specialist, SpecialistActor
from tallystick.actors.tracker import Tracker

Ref = pykka.ActorRef[Any] | Guest
GUESTS = frozenset({TRACKER})
"""Those that read the ledger's own objects, and work in the manager's turn. The others have a thread of their own."""


def specialists(delivers: bool = False) -> list[Specialist]:
    """The specialists in the order in which equal timers fire.

    ``delivers``: the enforcer also sends alerts to the configured addresses.
    """
    return [Tracker(), Enforcer(delivers), Reallocator()]


def start(
    specialist: Specialist,
    manager: Host,
    now: Callable[[], dt.datetime],
    deliver: Callable[[Post], None],
    wake_at: Callable[[str, dt.datetime | None], None],
    crashed: Callable[[Crashed], None],
) -> Ref:
    """Set a specialist to work that has taken over from the state."""
    if specialist.name in GUESTS:
        return Guest(specialist, manager, now, deliver, crashed)
    return SpecialistActor.start(specialist, now, deliver, wake_at, crashed)


def attend(refs: dict[str, Ref], share: dt.timedelta) -> None:
    """Let the guests among them work, in the manager's turn: each once, and on for as long as its share lasts."""
    for name in GUESTS:
        guest = refs.get(name)
        if isinstance(guest, Guest):
            guest.work(share)
