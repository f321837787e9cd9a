"""`tallystick.Fleet`: the running fleet of `actors/runtime/fleet.py` with the typed interface, which makes reports from
views of its own log, keeps together with its parent where its total comes from one, and sends its events to webhooks.
"""

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tallystick.actors.errors import NOT_NOW
from tallystick.actors.runtime import fleet
from tallystick.actors.runtime.clock import Clock
from tallystick.actors.runtime.manager_actor import HaltNow, SnapshotNow
from tallystick.actors.runtime.messages import ENFORCER, MANAGER, Envelope
from tallystick.actors.runtime.pending import Pending
from tallystick.actors.runtime.reports import MakeReporter
from tallystick.approvals.alerts import LinkedAlerts
from tallystick.config.found import GivenConfig, GivenPrices
from tallystick.events import messages as c
from tallystick.events.catalog import Event
from tallystick.events.log.codec import encode_command
from tallystick.events.log.restoring import Opened
from tallystick.events.log.store import Store
from tallystick.interface.interface import Interface
from tallystick.interface.steps import Runner
from tallystick.reports.reporter import Reporter
from tallystick.webhooks.webhooks import WebhookFigures, Webhooks

if TYPE_CHECKING:
    from tallystick.delegation.link import Answered, Link

PARENT = "parent"
"""Under whose name the exchange with a parent stands in the log."""


class Fleet(Interface, fleet.Fleet):
    """A running fleet: agents, calls and tasks; and messages in, replies out. From threads and from asyncio."""

    default_reporter: ClassVar[MakeReporter] = Reporter
    temporary: ClassVar[frozenset[str]] = NOT_NOW

    def __init__(self, *opened: Any) -> None:
        super().__init__(*opened)
        self._runner = Runner(self)
        self._link: Link | None = None
        self._closing = threading.RLock()
        if self._sender is not None:
            # Before anything is sent: alerts may wait since the fleet was closed.
            self._sender.prepare = LinkedAlerts(self.store, self._manager.ledger).prepare
        self._webhooks = Webhooks(self.store, self.records, lambda: self.halted is not None)

    @classmethod
    def open(
        cls,
        store: Store | str,
        config: GivenConfig = None,
        prices: GivenPrices = None,
        *,
        clock: Clock | None = None,
        by: str = "operator",
        followers: Sequence[Callable[[Sequence[Event]], None]] = (),
        notify: bool | None = None,
        reporter: MakeReporter | None = None,
        begun: Opened | None = None,
    ) -> Self:
        """Open a fleet as its only writer, for ``with``: at the end it is closed.

        ``store`` is ``sqlite:///FILE``, ``postgresql://HOST/DATABASE?fleet=NAME`` or ``memory:``. A fleet that is not
        there is created. ``config`` and ``prices`` are mappings with the keys of the files, or paths of files; what is
        not given stays in force, and a new fleet begins with the files that the command line would find, or with what
        is packaged. ``by`` stands in the log as the one who gave them. Each of ``followers`` is called with the events
        of every commit, and returns at once. With a ``clock`` of your own, time passes only by `advance`, and no alerts
        go out unless ``notify`` says so. ``reporter`` and ``begun`` are for programs that are given them.

        Where the total comes from a parent, that is asked first.

        Raises:
            StoreError: the store cannot be opened; `WriterPresent` where another process writes the fleet,
                `delegation.link.BehindParent` where the log is an old copy of what the parent knows.
            BrokenChain: the log was changed.
            ConfigError: the configuration or the prices cannot be read, or say something that is not allowed.
            RefusedConfig: the total would be below what is granted, held or spent already.
        """
        opened = super().open(
            store,
            config,
            prices,
            clock=clock,
            by=by,
            followers=followers,
            notify=notify,
            reporter=reporter,
            begun=begun,
        )
        if opened.config.delegate is not None and clock is None:
            try:
                opened.keep_with_parent()
            except BaseException:
                opened.close()
                raise
        opened.send_to_webhooks()
        return opened

    def keep_with_parent(self) -> None:
        """Ask the parent that the total comes from, and go on asking until this fleet is closed.

        Raises:
            BehindParent: this log is an old copy.
        """
        from tallystick.delegation.link import link_of  # noqa: PLC0415 - only where there is a parent

        halt = lambda why: self._tell(MANAGER, HaltNow(why))  # noqa: E731
        link = link_of(self.store, self._manager.ledger, self._record, self._clock.now, halt)
        self._at_close.callback(link.stop)
        self._followers.append(link.follow)
        self._link = link
        link.begin()

    def send_to_webhooks(self) -> None:
        """Send events to those that are configured, now or later, until this fleet is closed; where alerts go out."""
        if self._sender is not None:
            self._followers.append(self._webhooks.follow)
            self._webhooks.begin(self.config)

    @property
    def parent_answered(self) -> "Answered | None":
        """When the parent answered last; None where this fleet has none."""
        return None if self._link is None else self._link.answered

    def _record(self, command: c.Command) -> dict[str, Any]:
        """Decide and commit a command of the fleet's own."""
        pending = Pending()
        self._intake.post(Envelope([command], [encode_command(command)], PARENT, pending))
        answer: dict[str, Any] = pending.result()
        return answer

    def retry_after(self, error: dict[str, Any]) -> float:
        """A full queue is empty again in a moment; a store that is away may be so for longer."""
        return 0.0 if error["code"] == "busy" else float(error["retry_after_seconds"])

    @property
    def due_at(self) -> dt.datetime | None:
        """When something is to be done next that no message asks for; None where there is nothing.

        A hold, a lease, a window, a wait or the day ends, or an alert or an event is to be sent.

        Regular rebalancing apart: a fleet that no one asks does without it.
        """
        if (self._sender is not None and self._sender.is_busy) or self._webhooks.is_behind:
            return self._clock.now()
        return self._timekeeper.due_at((MANAGER, ENFORCER))

    def keep_snapshot(self) -> None:
        """Keep the state beside the log soon, so that the next opening reads only what follows."""
        self._tell(MANAGER, SnapshotNow())

    @property
    def webhook_figures(self) -> Sequence[WebhookFigures]:
        """How its webhooks stand."""
        return self._webhooks.figures

    def _finish(self) -> None:
        super()._finish()
        self._webhooks.finish()

    def close(self) -> None:
        """Finish what was taken, answer, and close the store. What agents still have open ends with their leases.

        It may be called twice, and from several threads: each of them goes on when the fleet is closed.
        """
        self._runner.close()
        with self._closing:
            fleet.Fleet.close(self)
