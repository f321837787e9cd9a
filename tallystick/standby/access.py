"""The keys of a fleet that several servers share, for the HTTP service of each of them."""

import datetime as dt

from tallystick.config.settings import Config
from tallystick.events.state.keys import Key, Keys
from tallystick.http.access import FleetAccess
from tallystick.standby.followed import Followed


class FollowedAccess:
    """The keys as the log says them; see `actors.runtime.access`."""

    def __init__(self, followed: Followed) -> None:
        self._ledger = followed.ledger

    @property
    def keys(self) -> Keys:
        """All keys."""
        return self._ledger.keys

    @property
    def operator_key(self) -> str | None:
        """The digest of `control.operator_key`, where there is one."""
        return self._ledger.rules.config.control.operator_key if self._ledger.configured else None

    @property
    def opening(self) -> object:
        """Another object each time that the fleet is followed anew."""
        return self._ledger

    def has_price(self, model: str) -> bool:
        """Whether the price list in force knows a model."""
        return self._ledger.rules.has_price(model)

    def now(self) -> dt.datetime:
        """What time it is here, and never before the newest record."""
        return max(dt.datetime.now(dt.UTC), self._ledger.now)

    @property
    def config(self) -> Config:
        """The configuration in force; the default one before there is any."""
        return self._ledger.rules.config

    def note_misuse(self, key: Key) -> None:
        """A standby records nothing: the program's log says it."""


class SharedAccess:
    """The keys in whatever role this server is: ``current`` comes with the first role, and is replaced with each."""

    current: FleetAccess

    @property
    def keys(self) -> Keys:
        """All keys."""
        return self.current.keys

    @property
    def operator_key(self) -> str | None:
        """The digest of `control.operator_key`, where there is one."""
        return self.current.operator_key

    @property
    def opening(self) -> object:
        """Another object for each time that this server has a role."""
        return self.current.opening

    def has_price(self, model: str) -> bool:
        """Whether the price list in force knows a model."""
        return self.current.has_price(model)

    def now(self) -> dt.datetime:
        """What time it is for the fleet."""
        return self.current.now()

    @property
    def config(self) -> Config:
        """The configuration in force; the default one before there is any."""
        return self.current.config

    def note_misuse(self, key: Key) -> None:
        """A key was shown after its end."""
        self.current.note_misuse(key)
