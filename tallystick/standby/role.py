"""Who of the servers of a fleet is its writer: each looks four times a second, and takes the place when it is free."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

import structlog

from tallystick.actors.errors import RefusedConfig
from tallystick.config.errors import ConfigError
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.postgres_servers import Servers
from tallystick.events.log.store import StoreError, WriterPresent
from tallystick.events.log.store_postgres import PostgresStore
from tallystick.http.elsewhere import NotHandedOver
from tallystick.standby.shared import SharedFleet, WriterSeen

LOOK_SECONDS: Final = 0.25
SAY_SECONDS: Final = 1.0
"""How often a server says that it is there."""
TAKE_BACK_SECONDS: Final = 3.0
"""How long one that has handed over leaves the place to others; where none takes it, it goes on itself."""
ORDER_SECONDS: Final = 90.0
"""How long a hand-over may take: what was accepted is finished first."""
_STOPPED: Final = "the server is being stopped"
log = structlog.wrap_logger(logging.getLogger("tallystick.standby"))


class Role:
    """Keeps the role of one server on a thread of its own. ``address`` is where the others reach it."""

    def __init__(self, fleet: SharedFleet, address: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._fleet, self._address, self._clock = fleet, address, clock
        self._servers = Servers(fleet.url)
        self._epoch: int | None = None
        """That of our lease, where this is the writer."""
        self._valid_until = 0.0
        """When the lease of the other writer ends, by our clock, as far as was seen."""
        self._takes_from = 0.0
        self._say_at = 0.0
        self._away: str | None = None
        self._order: Future[str] | None = None
        self._ordering = threading.Lock()
        self._left_until: float | None = None
        """Until when the place is left to others, while this hands over."""
        self._due, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="role", daemon=True)

    def begin(self, store: PostgresStore | None) -> None:
        """Take the first role, and keep the role from now on: as the writer of a store that was opened as such, or
        (None) as a standby, which becomes the writer at once where there is none.

        Raises:
            StoreError, BrokenChain, ConfigError, RefusedConfig: the fleet cannot be opened.
        """
        if store is not None:
            self._take(store)
        else:
            self._fleet.stand_by()
            if self._look():
                self._due.set()
            self._say()
        self._thread.start()

    def close(self) -> None:
        """Look no more; the role stays as it is."""
        self._closing.set()
        self._due.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._ordering:
            if self._order is not None and not self._order.done():
                self._order.set_exception(NotHandedOver("not_taken_over", _STOPPED))
        self._servers.close()

    def hand_over(self) -> str:
        """Let another server be the writer, and stand by; where that one is. It blocks until then.

        Raises:
            NotHandedOver: this is no writer, there is no standby, or none has taken over: then this goes on.
        """
        if self._fleet.fleet is None:
            writer = self._fleet.writer
            where = "not known now" if writer is None else writer.url or writer.holder
            raise NotHandedOver("not_writer", f"this server is a standby; the writer is {where}")
        order: Future[str] = Future()
        with self._ordering:
            if self._closing.is_set():
                raise NotHandedOver("not_taken_over", _STOPPED)
            if self._order is not None:
                raise NotHandedOver("not_writer", "this server is handing over already")
            self._order = order
        self._due.set()
        try:
            return order.result(ORDER_SECONDS)
        except TimeoutError:
            order.cancel()  # unless it is under way: then it goes on
            text = f"it could not be done within {ORDER_SECONDS:g} s: /readyz of the servers says which is the writer"
            raise NotHandedOver("not_taken_over", text) from None

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._step()
                self._note_away(None)
            except (StoreError, WriterPresent) as error:
                self._note_away(str(error))
            except (BrokenChain, ConfigError, RefusedConfig) as error:
                self._break(str(error))
                return
            except Exception as error:
                log.exception("role_failed")
                self._break(f"{type(error).__name__}: {error}")
                return
            self._due.wait(LOOK_SECONDS)
            self._due.clear()

    def _step(self) -> None:
        fleet = self._fleet
        if fleet.fleet is not None:
            if self._order is not None and self._left_until is None:
                self._let_go(self._order)
        elif fleet.followed is None:
            fleet.stand_by()
        if fleet.fleet is None and self._look():
            self._take(PostgresStore(fleet.url, writer=True))
        self._settle_order()
        if self._clock() >= self._say_at:
            self._say()

    def _say(self) -> None:
        position = self._fleet.log_seen
        self._servers.say(self._address, self._epoch, 0 if position is None else position.position)
        self._say_at = self._clock() + SAY_SECONDS

    def _look(self) -> bool:
        """See who has the writer's place; whether it is free, and ours to take."""
        now = self._clock()
        try:
            found = self._servers.writer()
        except StoreError:
            seen = self._fleet.writer
            if seen is not None and now > self._valid_until:
                self._fleet.saw(seen._replace(valid=False))
            raise
        if found is None:
            return False
        self._valid_until = now + found.seconds_left
        valid = found.seconds_left > 0
        url = None if found.server == self._servers.server else found.url
        self._fleet.saw(WriterSeen(found.epoch, found.holder, url, valid))
        return not valid and now >= self._takes_from

    def _take(self, store: PostgresStore) -> None:
        began = self._clock()
        epoch = store.epoch
        self._fleet.take_over(store)
        self._epoch = epoch
        log.info("is_writer", epoch=epoch, opened_in_ms=round((self._clock() - began) * 1000))
        self._say()

    def _let_go(self, order: "Future[str]") -> None:
        """Hand over, where there is a standby. What is asked meanwhile waits for the one that takes over."""
        refusal: NotHandedOver | None = None
        try:
            if not self._servers.standbys():
                text = "no other server stands by for this fleet: start one with tallystick serve --standby"
                refusal = NotHandedOver("no_standby", text)
        except StoreError as error:
            refusal = NotHandedOver("not_taken_over", f"this server is the writer still: {error}")
        is_wanted = order.set_running_or_notify_cancel()
        if refusal is not None or not is_wanted:
            self._order = None
            if refusal is not None and is_wanted:
                order.set_exception(refusal)
            return
        log.info("handing_over", epoch=self._epoch)
        self._epoch = None
        self._fleet.let_go()
        self._left_until = self._takes_from = self._clock() + TAKE_BACK_SECONDS
        self._fleet.stand_by()
        self._say()

    def _settle_order(self) -> None:
        """Answer who has asked for a hand-over, once it is known what came of it."""
        order, writer = self._order, self._fleet.writer
        if order is None or self._left_until is None:
            return
        if self._fleet.fleet is not None:
            text = f"no standby took over within {TAKE_BACK_SECONDS:g} s: this server is the writer again"
            self._order = self._left_until = None
            order.set_exception(NotHandedOver("not_taken_over", text))
        elif writer is not None and writer.valid and (writer.url is not None or self._clock() > self._left_until):
            log.info("handed_over", to=writer.url or writer.holder)
            self._takes_from = 0.0
            self._order = self._left_until = None
            order.set_result(writer.url or writer.holder)

    def _note_away(self, why: str | None) -> None:
        """Log the first failure of a series, and its end."""
        if why is not None and self._away is None:
            log.warning("database_away", reason=why)
        elif why is None and self._away is not None:
            log.info("database_back")
        self._away = why

    def _break(self, why: str) -> None:
        log.critical("cannot_go_on", reason=why)
        self._fleet.broken = why
