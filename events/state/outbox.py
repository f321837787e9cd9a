"""The outbox: which alerts are still to be delivered, and to whom. A fold of the log, so it survives any restart."""

import datetime as dt

import msgspec

from tallystick.config.addresses import mark
from tallystick.config.settings import Config
from tallystick.events.catalog import AlertRaised

OUTBOX_MAX = 1_000
"""Alerts that may wait; beyond, the oldest is given up, by an event."""

Owed = tuple[str, str]
"""Where an alert has to go: a name of ``notifications``, and the mark of one of its addresses."""


class Notice(msgspec.Struct, frozen=True, array_like=True):
    """An alert that is not delivered yet; ``owed`` is where it still has to go."""

    alert: str
    code: str
    message: str
    agent: str | None
    at: dt.datetime
    owed: tuple[Owed, ...]


Outbox = dict[str, Notice]
"""The alerts that wait, by their names, oldest first."""


def addressed(config: Config, to: str | None) -> list[str]:
    """The names that an alert goes to: the one it is for, or all; of them those that can be reached."""
    names = config.notifications if to is None else (to,)
    return [name for name in names if config.notifications.get(name)]


def addresses(config: Config) -> dict[Owed, str]:
    """Every address of the configuration, as it is written there."""
    return {(name, mark(text)): text for name, texts in config.notifications.items() for text in texts}


def put(outbox: Outbox, config: Config, event: AlertRaised) -> None:
    """An alert waits for every address of those that it is for."""
    owed = tuple(owed for owed in addresses(config) if owed[0] in event.notify)
    if owed:
        outbox[event.alert] = Notice(event.alert, event.code, event.message, event.agent, event.at, owed)


def settle(outbox: Outbox, alert: str, settled: Owed) -> None:
    """An alert no longer waits for an address."""
    notice = outbox.get(alert)
    if notice is not None:
        _keep(outbox, notice, tuple(owed for owed in notice.owed if owed != settled))


def keep_reachable(outbox: Outbox, config: Config) -> None:
    """To an address that is no longer configured nothing is owed."""
    known = addresses(config)
    for notice in list(outbox.values()):
        _keep(outbox, notice, tuple(owed for owed in notice.owed if owed in known))


def _keep(outbox: Outbox, notice: Notice, owed: tuple[Owed, ...]) -> None:
    if owed:
        outbox[notice.alert] = msgspec.structs.replace(notice, owed=owed)
    else:
        del outbox[notice.alert]
