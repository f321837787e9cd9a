"""How far each webhook is: kept beside the log, where the next process that runs the fleet goes on."""

import contextlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec

from tallystick.events.log.store import StoreError
from tallystick.events.log.store_place import file_of, is_postgres

SUFFIX: Final = ".webhooks"


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a webhook is. ``mark`` is the beginning of the digest of the record at ``position``.

    ``passed_over`` is how many events were passed over because the receiver refused them, ``last_passed`` the position
    of the newest of them. ``problem`` is why nothing is accepted now.
    """

    position: int = 0
    mark: str = ""
    passed_over: int = 0
    last_passed: int = 0
    problem: str | None = None


class Kept(Protocol):
    """Where progress is kept. Any thread may use it.

    Raises:
        StoreError: of each method, where that cannot be read or written now.
    """

    def load(self) -> Mapping[str, Progress]:
        """All of them, by the names of the webhooks."""

    def keep(self, name: str, progress: Progress) -> None:
        """Replace one."""

    def drop(self, name: str) -> None:
        """Forget one."""

    def close(self) -> None:
        """It is not used any more."""


class KeptInMemory:
    """For a log that is in memory, too."""

    def __init__(self) -> None:
        self._all: dict[str, Progress] = {}

    def load(self) -> Mapping[str, Progress]:
        return dict(self._all)

    def keep(self, name: str, progress: Progress) -> None:
        self._all[name] = progress

    def drop(self, name: str) -> None:
        self._all.pop(name, None)

    def close(self) -> None:
        """Nothing is open."""


class KeptInFile:
    """In a file beside the log's, which is replaced as a whole. It is not synced: what is lost is sent again.

    Once it was closed, it is another's to write: what is kept late would take back what that one has kept.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._changing = file, threading.Lock()
        self._known: dict[str, Progress] | None = None
        self._is_closed = False

    def load(self) -> Mapping[str, Progress]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, Progress])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StoreError(f"{self._file} cannot be read: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise StoreError(f"{self._file} is damaged ({error}): without it, all is sent again") from error

    def keep(self, name: str, progress: Progress) -> None:
        with self._changing:
            self._write({**self._all(), name: progress})

    def drop(self, name: str) -> None:
        with self._changing:
            if name in (known := self._all()):
                self._write({one: progress for one, progress in known.items() if one != name})

    def close(self) -> None:
        with self._changing:
            self._is_closed = True

    def _all(self) -> dict[str, Progress]:
        """What was written last: the fleet's writer is the only one that writes it."""
        if self._known is None:
            self._known = dict(self.load())
        return self._known

    def _write(self, progress: dict[str, Progress]) -> None:
        if self._is_closed:
            raise StoreError(f"{self._file} is not this fleet's to write any more: the fleet was closed")
        beside = self._file.with_name(f"{self._file.name}.{os.getpid()}.new")
        try:
            beside.write_bytes(msgspec.json.encode(progress, order="sorted"))
            beside.replace(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise StoreError(f"{self._file} cannot be written: {error.strerror}") from error
        self._known = progress


def kept_for(url: str) -> Kept:
    """Where the progress of a store's webhooks is kept.

    Raises:
        StoreError: the URL names no store.
    """
    if is_postgres(url):
        from tallystick.webhooks.progress_postgres import KeptInDatabase  # noqa: PLC0415 - an extra

        return KeptInDatabase(url)
    file = file_of(url)
    return KeptInMemory() if file is None else KeptInFile(file.with_name(file.name + SUFFIX))
