"""What a running fleet looks at again and again: whether its store is there and its own, and how its clocks stand."""

import datetime as dt
import threading
import time
from collections.abc import Callable, Sequence

from tallystick.actors.runtime.clock import APART, SteadyClock
from tallystick.actors.runtime.waking import wake_next
from tallystick.events.catalog import ClockAccepted, Event
from tallystick.events.log.store import Store

LOOK_SECONDS = 0.25
_TOGETHER = APART / 2
"""Clocks that were apart are together again when they are as close as this."""
_JUMP_SECONDS = 1.0
"""Time that passed without this thread: the machine slept, or a step ahead was accepted."""
_MILLISECOND = dt.timedelta(milliseconds=1)
_TOGETHER_AGAIN = dt.timedelta(0)


class Watch:
    """Looks four times a second, on a thread of its own, until it is stopped.

    Where the store is lost, ``stop`` is called with why, once. While it is away, ``turn_away`` is called with why, each
    time, and nothing else is looked at. ``note`` is called with how many
    milliseconds the machine's clock is ahead (negative: behind) when that becomes more than a minute, when it steps
    again while it is ahead, and with 0 when it no longer is apart.
    Callers who were not woken are, and ``jumped`` is called where time passed faster than this thread could see.
    """

    def __init__(
        self,
        clock: SteadyClock | None,
        store: Store,
        turn_away: Callable[[str], None],
        stop: Callable[[str], None],
        note: Callable[[int], None],
        jumped: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._store, self._turn_away = store, turn_away
        self._stop, self._note, self._jumped = stop, note, jumped
        self._noted = _TOGETHER_AGAIN
        """How far the clocks were apart when that was last noted (negative: behind); zero where they were together."""
        self._comparing = threading.Lock()
        """What was read before a step was accepted is not compared with what is noted behind it."""
        self._seen: tuple[dt.datetime, float] | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self, apart_ms: int) -> None:
        """Begin, with how far the clocks are apart by the log."""
        self._noted = apart_ms * _MILLISECOND
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def follow_accepted(self, events: Sequence[Event]) -> None:
        """Go ahead by the steps of the machine's clock that an operator has accepted."""
        with self._comparing:
            for event in events:
                if isinstance(event, ClockAccepted) and self._clock is not None:
                    self._clock.accept(event.ahead_ms * _MILLISECOND)
            self._noted = _TOGETHER_AGAIN

    def look(self) -> bool:
        """Look once; whether there is any reason to look again."""
        wake_next()  # if one was interrupted just when it was its turn to do so
        lost = self._store.lost()
        if lost is not None:
            self._stop(lost)
            return False
        away = self._store.away()
        if away is not None:
            self._turn_away(away)
            return True
        if self._clock is not None:
            now, seen = (self._clock.now(), time.monotonic()), self._seen
            if seen is not None and (now[0] - seen[0]).total_seconds() > now[1] - seen[1] + _JUMP_SECONDS:
                self._jumped()
            self._seen = now
            with self._comparing:
                self._compare(self._clock.apart)
        return True

    def _compare(self, apart: dt.timedelta) -> None:
        found = apart if abs(apart) > APART else _TOGETHER_AGAIN
        if not found and self._noted and abs(apart) > _TOGETHER:
            return
        # What an operator accepts is what was noted: so a further step ahead is noted, too.
        stepped = found > _TOGETHER_AGAIN and abs(found - self._noted) > APART
        if stepped or _way(found) != _way(self._noted):
            self._noted = found
            self._note(found // _MILLISECOND)

    def _run(self) -> None:
        while self.look() and not self._stopped.wait(LOOK_SECONDS):
            pass


def _way(apart: dt.timedelta) -> int:
    """1 ahead, -1 behind, 0 together."""
    return (apart > _TOGETHER_AGAIN) - (apart < _TOGETHER_AGAIN)
