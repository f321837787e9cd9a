"""A fleet that runs follows its configuration file: what is valid comes into force, what is not is shown.

A file is read when it has been stable for half a second, since some programs save in place, piece by piece. What a file
no longer says stays in force: only what it names is changed, so that a file that is cut off lifts nothing.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import structlog
import watchfiles

from tallystick.actors.errors import RefusedConfig, Unanswered
from tallystick.config.errors import ConfigError, KeyPath, dotted
from tallystick.config.loader import changed, named, parse, text_of
from tallystick.config.overlay import changes, dropped, says
from tallystick.config.settings import Config

LOOK_MS = 1_000
"""How often the file is read where the system does not report changes (network folders)."""
STABLE_SECONDS = 0.5
"""How long a file must have been the same before it is read."""
_PAUSE_SECONDS = 0.1

log = structlog.wrap_logger(logging.getLogger("tallystick.config"))

Stamp = tuple[int, int, int]


class Asked(Protocol):
    """The fleet, as far as it is needed here."""

    @property
    def config(self) -> Config: ...

    def put_in_force(self, config: Mapping[str, Any], by: str) -> Any: ...


class Following:
    """Follows one file on a thread of its own, until it is stopped."""

    def __init__(self, fleet: Asked, path: Path, by: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._fleet, self._path, self._by, self._clock = fleet, path, by, clock
        self.error: str | None = None
        """Why the file as it is now is not in force; None where it is."""
        self._omitted: list[KeyPath] = []
        self._text = ""
        """The file as it was when it was last taken."""
        self._seen = self._stamp()
        text = text_of(path)
        self._last = self._read(text)
        self._text = text
        self._since: float | None = None
        """When the file was first found as it is, where it was not yet read."""
        self._found = self._seen
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="config-file", daemon=True)

    @property
    def omitted(self) -> list[str]:
        """What the file said and no longer says, by dotted path: it stays in force, since only null lifts a limit."""
        return [dotted(path) for path in self._omitted]

    def begin(self) -> None:
        """Put what the file names in force.

        Raises:
            RefusedConfig: it cannot be put in force on this fleet.
        """
        in_force = self._fleet.config
        refusal = self._send(self._last) if changed(in_force, self._last) != in_force else None
        if refusal is not None:
            raise RefusedConfig(refusal)

    def start(self) -> None:
        """Look at the file from now on."""
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> bool:
        """Take the file as it is now, where it has been so for half a second; whether it must be looked at again.

        One event where it names something else, and none where it cannot be taken.
        """
        with self._looking:
            stamp, now = self._stamp(), self._clock()
            if stamp == self._seen:
                self._since = None
                return False
            if self._since is None or stamp != self._found:
                self._found, self._since = stamp, now
            if now - self._since < STABLE_SECONDS:
                return True
            self._seen, self._since = stamp, None
            self._take(stamp)
            return self._seen != stamp

    def _take(self, stamp: Stamp | None) -> None:
        try:
            text = text_of(self._path)
            if self._stamp() != stamp:
                self._seen = None  # it was changed while it was read
                return
            now = self._read(text)
            wanted = changes(self._last, now)
            refusal = self._send(wanted) if wanted else None
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
        omitted = dict.fromkeys([*self._omitted, *dropped(self._last, now)])
        self._omitted = [path for path in omitted if not says(now, path)]
        self._last, self._text, self.error = now, text, None
        if self._omitted:
            log.warning("config_omitted", file=str(self._path), stays_in_force=", ".join(self.omitted))

    def _read(self, text: str) -> dict[str, Any]:
        """What the file names.

        Raises:
            ConfigError: it says something that is not allowed, nothing at all, or only the beginning of
                what it said before.
        """
        name = str(self._path)
        if len(text) < len(self._text) and self._text.startswith(text.rstrip()):
            what = "is the beginning of what it said before" if text.strip() else "is empty"
            problem = f"{what}, so it may be cut off, and nothing is changed; if it is whole, end it with a comment"
            raise ConfigError(problem, file=name)
        said = named(parse(text, name))
        if not said:
            raise ConfigError("says nothing, so it changes nothing", file=name)
        return said

    def _keep(self, error: str) -> None:
        """What was in force stays in force."""
        self.error = error
        log.error("config_not_in_force", file=str(self._path), error=error)

    def _send(self, config: Mapping[str, Any]) -> str | None:
        reply = self._fleet.put_in_force(config, self._by)
        return reply["error"]["detail"] if "error" in reply else None

    def _stamp(self) -> Stamp | None:
        """What differs between two states of the file; None where it is gone for the moment, as editors do it."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _run(self) -> None:
        folder = self._path.absolute().parent
        watched = watchfiles.watch(
            folder,
            watch_filter=None,
            stop_event=self._stop,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            recursive=False,
            raise_interrupt=False,
        )
        for _ in watched:
            while self.look() and not self._stop.wait(_PAUSE_SECONDS):
                pass
