"""A fleet that runs follows its configuration file: what is valid comes into force, what is not is shown."""

import logging
import threading
from pathlib import Path
from typing import Any, Protocol

import structlog
import watchfiles

from tallystick.actors.runtime.opening import RefusedConfig
from tallystick.actors.runtime.pending import Unanswered
from tallystick.config.errors import ConfigError
from tallystick.config.loader import load, to_mapping
from tallystick.config.overlay import overlaid
from tallystick.config.settings import Config

LOOK_MS = 1_000
"""How often the file is read where the system does not report changes (network folders)."""

log = structlog.wrap_logger(logging.getLogger("tallystick.config"))


class Asked(Protocol):
    """The fleet, as far as it is needed here."""

    @property
    def config(self) -> Config: ...

    def ask(self, message: dict[str, Any], by: str) -> Any: ...


class Following:
    """Follows one file on a thread of its own, until it is stopped."""

    def __init__(self, fleet: Asked, path: Path, by: str) -> None:
        self._fleet, self._path, self._by = fleet, path, by
        self.error: str | None = None
        """Why the file as it is now is not in force; None where it is."""
        self._last = load(path)
        self._seen = self._stamp()
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="config-file", daemon=True)

    def start(self) -> None:
        """Put the whole file in force, then follow it.

        Raises:
            RefusedConfig: it cannot be put in force on this fleet.
        """
        if self._last != self._fleet.config and (refusal := self._send(to_mapping(self._last))) is not None:
            raise RefusedConfig(refusal)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Take the file as it is now: one event where it says something else, and none where it cannot be taken."""
        with self._looking:
            stamp = self._stamp()
            if stamp != self._seen:
                self._seen = stamp
                self._take()

    def _take(self) -> None:
        try:
            now = load(self._path)
            wanted = overlaid(self._fleet.config, self._last, now)
            refusal = self._send(to_mapping(wanted)) if wanted != self._fleet.config else None
        except ConfigError as error:
            self._keep(str(error))
            return
        except Unanswered as error:
            self._keep(str(error))
            self._seen = None  # the file is taken again at the next look, whether or not it changes
            return
        if refusal is not None:
            self._keep(refusal)
            return
        self._last, self.error = now, None

    def _keep(self, error: str) -> None:
        """What was in force stays in force."""
        self.error = error
        log.error("config_not_in_force", file=str(self._path), error=error)

    def _send(self, config: object) -> str | None:
        reply = self._fleet.ask({"type": "LoadConfig", "config": config}, by=self._by)
        return reply["error"]["detail"] if "error" in reply else None

    def _stamp(self) -> tuple[int, int, int] | None:
        """What differs between two states of the file; None where it is gone for the moment, as editors do it."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _run(self) -> None:
        folder = self._path.absolute().parent
        changes = watchfiles.watch(
            folder,
            watch_filter=None,
            stop_event=self._stop,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            recursive=False,
            raise_interrupt=False,
        )
        for _ in changes:
            self.look()
