"""Waiting until everything that was handed in, and all that followed from it, is done."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from tallystick.actors.errors import Unanswered
from tallystick.actors.manager import Manager
from tallystick.actors.runtime.messages import MANAGER
from tallystick.actors.runtime.sender import AlertSender
from tallystick.actors.runtime.specialist import Probe
from tallystick.actors.runtime.team import Ref

LOOK_SECONDS = 0.1
"""How often a caller that waits for an actor looks whether it still lives."""


class Quiescence:
    """Passes through the inboxes of a fleet's actors until none had anything to do.

    ``refs`` are all actors, ``has_successor`` says whether one that failed will be replaced.
    """

    def __init__(
        self,
        manager: Manager,
        refs: Mapping[str, Ref],
        sender: AlertSender | None,
        tell: Callable[[str, Any], None],
        has_successor: Callable[[str], bool],
    ) -> None:
        self._manager, self._refs, self._sender = manager, refs, sender
        self._tell, self._has_successor = tell, has_successor

    def wait(self, timeout: float) -> None:
        """Wait until the fleet is at rest.

        Raises:
            Unanswered: the fleet did not come to rest within ``timeout`` seconds.
        """
        settled, until = (-1, 0), time.monotonic() + timeout
        while settled != (reached := self._round(timeout)):
            settled = reached
            if time.monotonic() > until:
                raise Unanswered(f"the fleet did not come to rest within {timeout:g} s")

    def _round(self, timeout: float) -> tuple[int, int]:
        """Pass through every inbox, the manager's last; how many messages it took, and how many alerts were tried."""
        specialists = [name for name in self._refs if name != MANAGER]
        # A question goes through manager, reallocator, tracker, reallocator and back: two rounds see it through.
        for name in (MANAGER, *specialists, *specialists, MANAGER, MANAGER):
            self._probe(name, timeout)
        if self._sender is None:
            return self._manager.taken, 0
        if not self._sender.rest(timeout):
            raise Unanswered(f"an alert was on its way for more than {timeout:g} s")
        return self._manager.taken, self._sender.tried

    def _probe(self, name: str, timeout: float) -> None:
        """Pass through one inbox."""
        ref, reached, patience = self._refs[name], threading.Event(), timeout
        self._tell(name, Probe(reached.set))
        # A specialist that failed will not answer; its successor begins from the state, and is asked in the next round.
        while not reached.wait(min(patience, LOOK_SECONDS)) and ref.is_alive():
            patience -= LOOK_SECONDS
            if patience <= 0:
                raise Unanswered(f"{name} did not come to rest within {timeout:g} s")
        while not ref.is_alive() and self._is_awaited(name, ref):
            reached.wait(LOOK_SECONDS / 10)

    def _is_awaited(self, name: str, failed: Ref) -> bool:
        """Whether a failed specialist will have a successor, and has none yet."""
        return self._refs[name] is failed and self._refs[MANAGER].is_alive() and self._has_successor(name)
