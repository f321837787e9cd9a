"""Figures are read on a thread of their own, so that keys are answered at once, however large the fleet is."""

import datetime as dt
import threading
import time
from collections.abc import Callable
from typing import Final

from tallystick.top.figures import Figures, Reader
from tallystick.top.state import Opened

_LOOK_SECONDS: Final = 0.2
"""How often the log is asked whether it has gone on."""
_SHARE: Final = 4
"""Reading takes at most so small a part of the time: 1/4."""


class Gatherer:
    """Reads a store's figures whenever the log has gone on, and every few seconds, since rates change by themselves."""

    def __init__(self, open_reader: Callable[[], Reader], every_seconds: float) -> None:
        self._open_reader, self._every = open_reader, every_seconds
        self._wanted: Opened | None = None
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._found: Figures | None = None
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="top", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._wake.set()
        self._thread.join(timeout=5)

    def want(self, opened: Opened | None) -> None:
        """Read what this row has to tell, from now on."""
        if opened != self._wanted:
            self._wanted = opened
            self._wake.set()

    def newest(self) -> Figures | None:
        """The newest figures; None until the log was read.

        Raises:
            StoreError, BrokenChain: the store cannot be read any more.
        """
        if self._failure is not None:
            raise self._failure
        return self._found

    def _run(self) -> None:
        try:
            reader = self._open_reader()
            try:
                while not self._stopped.is_set():
                    began = time.monotonic()
                    self._wake.clear()
                    self._found = reader.read(dt.datetime.now(dt.UTC), self._wanted)
                    self._rest(reader, began)
            finally:
                reader.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread of the screen says so
            self._failure = error

    def _rest(self, reader: Reader, began: float) -> None:
        took = time.monotonic() - began
        least, most = began + took * _SHARE, began + max(self._every, took * _SHARE)
        while not self._stopped.is_set() and not self._wake.wait(_LOOK_SECONDS):
            now = time.monotonic()
            if now >= most or (now >= least and reader.has_news()):
                return
