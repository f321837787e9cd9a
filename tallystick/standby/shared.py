"""`SharedFleet`: a fleet as one of its servers has it, now as its writer, now as a standby."""

import datetime as dt
import itertools
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from tallystick.actors.runtime.envelopes import envelope_of
from tallystick.actors.runtime.intake import Asker
from tallystick.actors.runtime.log_feed import LogFeed
from tallystick.actors.runtime.pending import ANSWER_SECONDS, Pending, refused
from tallystick.events import messages as c
from tallystick.events.log.codec import Message
from tallystick.events.log.restoring import Opened
from tallystick.events.log.store import Store
from tallystick.events.log.store_postgres import PostgresStore
from tallystick.fleet import Fleet
from tallystick.http.elsewhere import LogSeen
from tallystick.standby.access import FollowedAccess, SharedAccess
from tallystick.standby.followed import Followed

OpenFleet = Callable[[Store, Opened | None], Fleet]
"""Opens the fleet as the writer of a store, with the state as of its newest record where that is known; the store is
closed where it fails."""
if TYPE_CHECKING:
    from tallystick.delegation.link import Answered
    from tallystick.webhooks.webhooks import WebhookFigures

ANSWERED_HERE: Final = (c.GetGlobalStatus, c.GetHolds, c.GetLimits, c.GetStatus, c.ListKeys)
"""Questions that a standby answers itself. What else is asked needs the newest state (`CheckEnforcement`), or what only
the writer has: specialists, and those who wait."""
_HALTED: Final = "halted"
_MOVED: Final = "the writer's place has gone to another server: send it again with the same id"
log = structlog.wrap_logger(logging.getLogger("tallystick.standby"))


class WriterSeen(NamedTuple):
    """The writer, another server, as it was seen last. ``valid``: its lease had not ended, as far as can be known.

    ``url`` is None where it cannot be reached over HTTP, or has not said where.
    """

    epoch: int
    holder: str
    url: str | None
    valid: bool


class SharedFleet:
    """What a server serves: the fleet itself while it is the writer, else what the log says.

    It has no role before `stand_by` or `take_over`. It may be asked from any thread; one thread at a time changes the
    role (see `Role`).

    Raises:
        StoreError: the database cannot be reached, or has no such fleet.
    """

    log_time: Final = False

    def __init__(self, url: str, open_fleet: OpenFleet) -> None:
        self.url, self._open_fleet = url, open_fleet
        self.store = PostgresStore(url, writer=False)
        self.records = LogFeed(self.store)
        """The log as it is stored, in both roles."""
        self.fleet: Fleet | None = None
        """Where this is the writer."""
        self.followed: Followed | None = None
        """Where this is a standby. While the role changes, it is neither."""
        self._stored: Callable[[], int] = lambda: 0
        self.writer: WriterSeen | None = None
        """Who has the writer's place, where it is another."""
        self.broken: str | None = None
        """Why this server cannot go on, in either role."""
        self.access = SharedAccess()
        self._listeners: list[Callable[[], None]] = []
        self._ids, self._prefix = itertools.count(1), f"q-{secrets.token_hex(6)}"

    # --- the roles ----------------------------------------------------------------------------------------------------

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call when the role has changed, or the writer; in the thread that has noticed it."""
        self._listeners.append(listener)

    def saw(self, writer: WriterSeen | None) -> None:
        """The writer's place was looked at."""
        if writer != self.writer:
            self.writer = writer
            self._tell()

    def take_over(self, store: PostgresStore) -> None:
        """Be the writer from now on, of a store that was opened as its writer; where it fails, it is closed.

        Raises:
            StoreError: the store could not be read or written.
            BrokenChain, ConfigError, RefusedConfig: the fleet cannot be opened.
        """
        begun = None
        try:
            followed, self.followed = self.followed, None
            if followed is not None:
                followed.stop()
                begun = followed.begun(store)
            last = store.last()
        except BaseException:
            store.close()
            raise
        position, found = 0 if begun is None else begun.ledger.position, 0 if last is None else last.position
        fleet = self._open_fleet(store, begun)
        fleet.records.follow(self.records.publish)
        self.access.current = fleet.access
        self._stored = lambda: max(found, store.written)
        self.writer, self.fleet = None, fleet
        self._tell()
        # What was recorded while it was opened; who has it already passes it by.
        self.records.publish(list(store.read(position)))

    def let_go(self) -> None:
        """Finish what was taken, answer it, and let another be the writer."""
        fleet, self.fleet = self.fleet, None
        self._tell()
        if fleet is not None:
            fleet.close()

    def stand_by(self) -> None:
        """Follow the log from now on.

        Raises:
            StoreError: the database cannot be reached.
            BrokenChain: the log is not what was written.
        """
        followed = Followed(self.store, self.records.publish)
        self.access.current = FollowedAccess(followed)
        self.followed = followed
        self._tell()

    def close(self) -> None:
        """Finish what was taken, and let go of everything."""
        self.let_go()
        followed, self.followed = self.followed, None
        if followed is not None:
            followed.stop()
        self.store.close()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    # --- what is served -----------------------------------------------------------------------------------------------

    @property
    def log_seen(self) -> LogSeen | None:
        """How far it is, in either role; None while the role changes. A writer is no further than what is stored: a
        standby waits for the position, and what was only decided may never come.
        """
        fleet, followed = self.fleet, self.followed
        if fleet is not None:
            return LogSeen(self._stored())
        return None if followed is None else LogSeen(followed.position, followed.age_seconds)

    @property
    def halted(self) -> str | None:
        """Why it stopped by itself, if it did."""
        fleet, followed = self.fleet, self.followed
        of_role = fleet.halted if fleet is not None else None if followed is None else followed.broken
        return self.broken or of_role

    @property
    def parent_answered(self) -> "Answered | None":
        """When the fleet that this one's total comes from has answered; only the writer asks it."""
        return None if self.fleet is None else self.fleet.parent_answered

    @property
    def webhook_figures(self) -> "Sequence[WebhookFigures]":
        """How webhooks stand; only the writer sends to them."""
        fleet = self.fleet
        return () if fleet is None else fleet.webhook_figures

    async def ask_async(
        self,
        message: Message | Sequence[Message],
        by: str = "local",
        timeout: float = ANSWER_SECONDS,  # noqa: ASYNC109 - as a fleet in this process
        *,
        asker: Asker | None = None,
    ) -> Any:
        """What the fleet answers: the writer here, or where that is another, what is known of it here."""
        fleet = self.fleet
        if fleet is None:
            return self._answer_here(message, by, asker)
        answer = await fleet.ask_async(message, by, timeout, asker=asker)
        if fleet is self.fleet:
            return answer
        return [_moved(one) for one in answer] if isinstance(answer, list) else _moved(answer)

    def _answer_here(self, message: Message | Sequence[Message], by: str, asker: Asker | None) -> Any:
        pending = Pending(isinstance(message, list | tuple))
        messages: Sequence[Any] = message if pending.many else (message,)  # type: ignore[assignment]
        envelope = envelope_of(messages, by, pending, lambda: f"{self._prefix}-{next(self._ids)}")
        if envelope is not None:
            followed, commands = self.followed, envelope.commands
            known = all(isinstance(command, ANSWERED_HERE) for command in commands)
            if known and followed is not None and followed.answer(envelope, asker, dt.datetime.now(dt.UTC)):
                pending.set(envelope.answers)
            else:
                pending.set([refused("no_writer", _MOVED)] * len(commands))
        return pending.result(0)


def _moved(answer: dict[str, Any]) -> dict[str, Any]:
    """What a fleet that was closed has answered, as it is here: not the end, but another server's to answer."""
    if answer.get("error", {}).get("code") != _HALTED:
        return answer
    return {"error": {"code": "no_writer", "detail": _MOVED}}
