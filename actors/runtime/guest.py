"""A specialist without a thread: it works in the manager's turn, behind each commit, on the ledger's own objects.

What it sees is the state behind the batch that it gets, and no other thread changes it meanwhile. In return it
must not keep the manager: what takes long it does in parts, with a message to itself for the next one.
"""

import datetime as dt
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import pykka

from tallystick.actors.runtime.messages import Post, each, together
from tallystick.actors.runtime.specialist import Crashed, Probe, Specialist, must_not_be_lost

_NONE = dt.timedelta(0)


class Host(Protocol):
    """The actor in whose turns a guest works."""

    def tell(self, message: Any) -> None: ...

    def is_alive(self) -> bool: ...


class Guest:
    """A specialist in the turns of ``host``. An error inside ends this guest; the fleet puts a new one in its place.

    It gets messages as an actor does, from any thread.
    """

    def __init__(
        self,
        specialist: Specialist,
        host: Host,
        now: Callable[[], dt.datetime],
        deliver: Callable[[Post], None],
        crashed: Callable[[Crashed], None],
    ) -> None:
        self._specialist = specialist
        self._host = host
        self._now = now
        self._deliver = deliver
        self._crashed = crashed
        self._waiting: deque[Any] = deque()
        self._probes: list[Probe] = []
        self._is_there = True
        self._lock = threading.Lock()
        self._asked = False
        """The host has a message of this guest that it has not come to: one at a time, however much there is to do."""
        self._at_home: int | None = None
        """The thread of the host, once it is known."""

    def tell(self, message: Any) -> None:
        """Hand it a message, for the host's next turn.

        Raises:
            ActorDeadError: it failed, or its host is not there any more.
        """
        with self._lock:
            if not self._is_there:
                raise pykka.ActorDeadError(f"{self._specialist.name} not found")
            self._waiting.extend(each(message))
        if threading.get_ident() != self._at_home:
            # Within the host's turn, `work` follows.
            self._ask_for_a_turn()

    def reached(self) -> None:
        """The host has come to this guest's message; `work` follows."""
        self._asked = False

    def _ask_for_a_turn(self) -> None:
        with self._lock:
            if self._asked:
                return
            self._asked = True
        self._host.tell(self)

    def is_alive(self) -> bool:
        return self._is_there and self._host.is_alive()

    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool:
        """It takes nothing more."""
        was_there, self._is_there = self._is_there, False
        return was_there

    def work(self, share: dt.timedelta = _NONE) -> None:
        """Take what waits by now, in the host's turn. What it sends itself meanwhile waits for the next one, or is done
        in this one too, for as long as its ``share`` lasts.
        """
        if not self._waiting:
            return
        self._at_home = threading.get_ident()
        is_well = self._work_once()
        if share:
            until = self._now() + share
            while is_well and self._waiting and self._now() < until:
                is_well = self._work_once()
        if not is_well:
            return
        if self._waiting:
            self._ask_for_a_turn()
        else:
            # Only now: what takes several turns is done.
            while self._probes:
                self._probes.pop().reached()

    def _work_once(self) -> bool:
        """Take what waits by now; false where it failed at it."""
        now, posts, reason = self._now(), list[Post](), None
        try:
            for _ in range(len(self._waiting)):
                message = self._waiting[0]
                if isinstance(message, Probe):
                    self._probes.append(message)
                else:
                    posts += self._specialist.handle(message, now)
                self._waiting.popleft()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next one may not have it
            reason = f"{type(error).__name__}: {error}"
        # What an earlier message led to counts, whatever becomes of the next.
        for post in together(posts):
            self._deliver(post)
        if reason is not None:
            self._fail(reason)
        return reason is None

    def _fail(self, reason: str) -> None:
        with self._lock:
            self._is_there = False
            left = tuple(filter(must_not_be_lost, self._waiting))
            self._waiting.clear()
        self._crashed(Crashed(self._specialist.name, reason, left))
