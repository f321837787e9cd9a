"""The webhooks of a fleet that runs: one forwarder for each that is configured, now or later."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from tallystick.actors.runtime.log_feed import LogFeed
from tallystick.config.loader import restore
from tallystick.config.settings import Config
from tallystick.delegation.identity import identity
from tallystick.events.catalog import ConfigLoaded, Event
from tallystick.events.log.store import Store, StoreError
from tallystick.events.log.store_place import is_postgres
from tallystick.webhooks.cloudevents import source_of
from tallystick.webhooks.progress import Kept, Progress, kept_for

if TYPE_CHECKING:
    from tallystick.webhooks.forwarder import Forwarder, Source

FINISH_SECONDS: Final = 5.0
"""How long a fleet that is closed waits for what is on its way."""


class WebhookFigures(NamedTuple):
    """How a webhook stands: ``accepted`` and ``failures`` since the fleet was opened here."""

    name: str
    progress: Progress
    accepted: int
    failures: int


class Webhooks:
    """Sends what a fleet records to its webhooks. ``ended``: see `Source`."""

    def __init__(self, store: Store, records: LogFeed, ended: Callable[[], bool]) -> None:
        self._store, self._records, self._ended = store, records, ended
        self._changing = threading.Lock()
        self._forwarders: dict[str, Forwarder] = {}
        self._leaving: dict[str, Forwarder] = {}
        """Those that were taken out, and may have something on its way: who has the name next waits for them."""
        self._is_configured = False
        self._kept: Kept | None = None
        self._is_finished = False
        self._source: Source | None = None

    def follow(self, events: Sequence[Event]) -> None:
        """In the manager's turn: what is configured may have changed."""
        for event in events:
            if isinstance(event, ConfigLoaded):
                self.configure(restore(event.config), event.position)

    def begin(self, config: Config) -> None:
        """What is configured when the fleet is opened, unless what came into force since was followed already; of what
        was configured before, nothing is kept.
        """
        with self._changing:
            if not self._is_configured:
                self._configure(config, None)
            if self._forwarders or not is_postgres(self._store.url):
                with contextlib.suppress(StoreError):
                    self._drop(self._keeping().load().keys() - self._forwarders.keys())

    def configure(self, config: Config, position: int) -> None:
        """Send to these webhooks from now on, and to no others. ``position`` is where they came into force: what was
        recorded before it is sent as it was configured then, where that is accepted at once.
        """
        with self._changing:
            self._configure(config, position)

    def _configure(self, config: Config, position: int | None) -> None:
        self._is_configured = True
        if self._is_finished or not (config.webhooks or self._forwarders):
            return
        from tallystick.webhooks.forwarder import Forwarder  # noqa: PLC0415 - what it needs takes long to load

        networks = config.notification_networks
        for name in self._forwarders.keys() - config.webhooks.keys():
            removed = self._leaving[name] = self._forwarders.pop(name)
            removed.remove()
        for name, hook in config.webhooks.items():
            before = self._forwarders.get(name)
            if before is not None and (before.hook, before.networks) == (hook, networks):
                continue
            if before is not None:
                before.end(position)
            else:
                before = self._leaving.pop(name, None)
            made = Forwarder(name, hook, networks, self._of_fleet(), self._keeping(), before, position)
            self._forwarders[name] = made
            made.begin()

    def finish(self) -> None:
        """Try once what is left, for up to `FINISH_SECONDS`, and send nothing more."""
        with self._changing:
            self._is_finished = True
            forwarders = list(self._forwarders.values())
            for one in forwarders:
                one.end()
            end = time.monotonic() + FINISH_SECONDS
            for one in (*forwarders, *self._leaving.values()):
                one.join(max(0.0, end - time.monotonic()))
            if self._kept is not None:
                with contextlib.suppress(StoreError):
                    self._drop(self._leaving)
                self._kept.close()
                self._kept = None

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            self._keeping().drop(name)

    @property
    def is_behind(self) -> bool:
        """Whether something may be left to send."""
        return any(one.is_behind for one in list(self._forwarders.values()))

    @property
    def figures(self) -> list[WebhookFigures]:
        """How each stands."""
        found = sorted(self._forwarders.items())
        return [WebhookFigures(name, one.progress, one.accepted, one.failures) for name, one in found]

    def _of_fleet(self) -> "Source":
        from tallystick.webhooks.forwarder import Source  # noqa: PLC0415 - as above

        if self._source is None:
            self._source = Source(self._store, self._records, source_of(identity(self._store)), self._ended)
        return self._source

    def _keeping(self) -> Kept:
        if self._kept is None:
            self._kept = kept_for(self._store.url)
        return self._kept
