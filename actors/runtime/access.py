"""What the HTTP service asks of a running fleet about keys, and about telemetry."""

import datetime as dt

from tallystick.actors.manager import Manager
from tallystick.actors.runtime.clock import Clock
from tallystick.actors.runtime.intake import Intake
from tallystick.config.settings import Config
from tallystick.events import messages as c
from tallystick.events.decide.keys import MISUSE_EVERY
from tallystick.events.messages import proposals as p
from tallystick.events.state.keys import Key, Keys

BY = "access"
"""In whose name it is recorded that a key was shown after its end."""


class Access:
    """The keys of a fleet as decided, for looking at from any thread; what is recorded of their misuse; and how
    telemetry becomes reports.
    """

    def __init__(self, manager: Manager, intake: Intake, clock: Clock) -> None:
        self._manager, self._intake, self._clock = manager, intake, clock

    @property
    def keys(self) -> Keys:
        """All keys."""
        return self._manager.ledger.keys

    @property
    def operator_key(self) -> str | None:
        """The digest of `control.operator_key`, ``sha256:…``, where there is one."""
        ledger = self._manager.ledger
        return ledger.rules.config.control.operator_key if ledger.configured else None

    @property
    def opening(self) -> object:
        """Another object each time that the fleet is opened: what was known of its log before may be out of date."""
        return self._manager

    def has_price(self, model: str) -> bool:
        """Whether the price list in force knows a model, by an alias or by its name."""
        return self._manager.ledger.rules.has_price(model)

    def now(self) -> dt.datetime:
        """What time it is for the fleet."""
        return self._clock.now()

    @property
    def config(self) -> Config:
        """The configuration in force; the default one before there is any."""
        return self._manager.ledger.rules.config

    def note_misuse(self, key: Key) -> None:
        """Record that a key was shown that has expired or was revoked, where that was not done within the hour."""
        if key.misused_at is not None and self.now() < key.misused_at + MISUSE_EVERY:
            return
        note = p.RecordMisuse(key=key.name, id=c.internal_id(f"misuse-{self._intake.new_id()}"))
        self._intake.record(note, BY)
