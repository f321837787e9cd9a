"""Threads that take turns line by line, as it is drawn: any order in which the interpreter could let them run.

Time is counted in turns. Where nobody can go on, it passes until the first one that waits with a timeout can.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from random import Random
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any, Self

SECONDS = 10.0
_FALLS_BEHIND = 0.05
"""How often one stands still from then on, until all others wait or have ended."""


_INTERRUPTED = 0.2
"""How often a line raises that may."""


class Stuck(Exception):
    """Those that have not ended wait for one another."""


class Interrupted(float):
    """A timeout that ends in a KeyboardInterrupt, as where a thread is interrupted while it waits."""


class Turns:
    """Runs functions in threads of their own, of which one at a time executes a line of what is ``watched``."""

    def __init__(
        self,
        watched: Sequence[Callable[..., object]],
        random: Random,
        all_wait: Callable[[], None],
        interrupted: Sequence[Callable[..., object]] = (),
    ) -> None:
        """``random`` says in which order. ``all_wait`` is called when nobody can. A line of what is ``interrupted`` may
        raise a KeyboardInterrupt before it is executed; a thread in which one did takes no more turns within what is
        watched.
        """
        self._watched = {one.__code__ for one in watched if isinstance(one, FunctionType)}
        self._interrupted = {one.__code__ for one in interrupted if isinstance(one, FunctionType)}
        self._random, self._all_wait = random, all_wait
        self.now = 0.0
        self._players: list[_Player] = []

    def run(self, plays: Sequence[Callable[[], object]]) -> None:
        """Until all have ended.

        Raises:
            Stuck: that will never be.
        """
        self._players = [_Player(self._watched, play, self._interrupts) for play in plays]
        ranks = self._random.sample(self._players, len(plays))
        try:
            while going := [one for one in ranks if not one.ended]:
                able = [one for one in going if one.lock is None or one.lock.lets(self.now, one.until)]
                if able:
                    self.now += 1
                    able[0].go_on()
                    # What goes wrong needs one that stands still while others do much.
                    if self._random.random() < _FALLS_BEHIND:
                        ranks.remove(able[0])
                        ranks.append(able[0])
                    continue
                self._all_wait()
                if any(one.lock is not None and one.lock.lets(self.now, one.until) for one in going):
                    continue
                self.now = min(one.until for one in going)
                if self.now == float("inf"):
                    raise Stuck(f"{len(going)} of {len(plays)}")
        finally:
            for one in self._players:
                one.give_up()
        for one in self._players:
            if one.error is not None:
                raise one.error

    def _interrupts(self, code: CodeType) -> bool:
        return code in self._interrupted and self._random.random() < _INTERRUPTED

    def wait(self, lock: "TurnLock", until: float) -> None:
        """The thread that calls this can only go on when a lock is free, or at that time."""
        player = next(one for one in self._players if one.thread is threading.current_thread())
        player.lock, player.until = lock, until
        player.pause()
        player.lock, player.until = None, float("inf")


class TurnLock:
    """A lock for threads that take turns."""

    def __init__(self, turns: Turns) -> None:
        self._turns, self._is_held = turns, False

    def lets(self, now: float, until: float) -> bool:
        return not self._is_held or now >= until

    def acquire(self, timeout: float = float("inf")) -> bool:
        if self._is_held:
            self._turns.wait(self, self._turns.now + timeout)
            if isinstance(timeout, Interrupted):
                raise KeyboardInterrupt
        late, self._is_held = self._is_held, True
        return not late

    def release(self) -> None:
        if not self._is_held:
            raise RuntimeError("release unlocked lock")
        self._is_held = False

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class _GivenUp(BaseException):
    """The test is over."""


class _Player:
    """A thread that pauses before each of the lines."""

    def __init__(
        self, watched: set[CodeType], play: Callable[[], object], interrupts: Callable[[CodeType], bool]
    ) -> None:
        self.ended, self.until = False, float("inf")
        self.error: BaseException | None = None
        self.lock: TurnLock | None = None
        self._watched, self._play, self._is_over = watched, play, False
        self._interrupts = interrupts
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def go_on(self) -> None:
        self._go.release()
        assert self._paused.acquire(timeout=SECONDS), "a thread waits for something else than its turn"

    def give_up(self) -> None:
        self._is_over = True
        self._go.release()
        self.thread.join(SECONDS)

    def pause(self) -> None:
        self._paused.release()
        self._go.acquire()
        if self._is_over:
            raise _GivenUp

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._is_over:
                sys.settrace(self._trace)
                self._play()
        except _GivenUp:
            pass
        except BaseException as error:  # noqa: BLE001 - it is raised where the test runs
            self.error = error
        finally:
            sys.settrace(None)
            self.ended = True
            self._paused.release()

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            self.pause()
            if self._interrupts(frame.f_code):
                raise KeyboardInterrupt
        return self._trace if frame.f_code in self._watched else None
