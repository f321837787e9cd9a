"""A log's states, one after another or here and there: what the views and the core's state were at a position.

To go on is to fold what is new; to go back is to begin at the nearest checkpoint before. Checkpoints are made on the
way, and the newest states that were asked for are kept, so that stepping through a log is quick however long it is.
"""

import functools
import zlib
from collections import OrderedDict
from typing import Final, NamedTuple

from tallystick.events.decide.answers import stamp
from tallystick.events.log import snapshot
from tallystick.events.log.replaying import Replay
from tallystick.events.log.store import Store
from tallystick.events.state.ledger import Ledger
from tallystick.http.views.state import State
from tallystick.moments import Moment
from tallystick.projections.store.as_of import NotThere, position_by
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.view_store import MemoryViewStore

STATES_KEPT: Final = 32
CHECKPOINTS: Final = 64
"""About so many lie along a log."""
APART_LEAST: Final = 512
"""So many events apart, at least."""
CHECKPOINT_BYTES: Final = 96 * 1024 * 1024
"""So much may all checkpoints take."""


class _Checkpoint(NamedTuple):
    views: MemoryViewStore
    ledger: bytes
    digest: bytes


class Walk:
    """Goes through one store's log, in both directions.

    Raises:
        BrokenChain: a record is not what was written.
        StoreError: the log could not be read.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._views = MemoryViewStore()
        self._projector = Projector(store, self._views)
        self._replay = Replay()
        self._checkpoints: OrderedDict[int, _Checkpoint] = OrderedDict()
        self._bytes = 0
        self._states: OrderedDict[Moment, State] = OrderedDict()

    @property
    def end(self) -> int:
        """The newest position."""
        last = self._store.last()
        return 0 if last is None else last.position

    def state(self, at: Moment) -> State:
        """The state at a moment.

        Raises:
            NotThere: the log does not reach there.
        """
        kept = self._states.get(at)
        if kept is not None:
            self._states.move_to_end(at)
            return kept
        end = self.end
        position = at.position if at.time is None else position_by(self._store, at.time)
        assert position is not None
        if not 1 <= position <= end:
            raise NotThere(_why_not(at, position, end))
        self._go_to(position)
        make_ledger = functools.partial(self._ledger_at, position)
        self._states[at] = state = State(self._views.copy(), at.time, make_ledger, live=False, asked_time=at.time)
        if len(self._states) > STATES_KEPT:
            self._states.popitem(last=False)
        return state

    def _ledger_at(self, position: int) -> Ledger:
        """A state of its own, which may be changed."""
        self._go_to(position)
        ledger = snapshot.load(snapshot.dump(self._replay.ledger))
        assert ledger is not None, "a state is read back by the program that has written it"
        return ledger

    # --- on the way ---------------------------------------------------------------------------------------------------

    def _go_to(self, position: int) -> None:
        before = max((found for found in self._checkpoints if found <= position), default=0)
        if position < self._projector.position or before > self._projector.position:
            self._begin_at(before)
        apart = self._apart()
        while (here := self._projector.position) < position:
            self._fold(min(position, (here // apart + 1) * apart))
            if self._projector.position % apart == 0:
                self._keep()

    def _fold(self, upto: int) -> None:
        self._projector.catch_up(upto)
        for record in self._store.read(self._replay.ledger.position, upto):
            self._replay.apply(self._replay.prove(record))

    def _apart(self) -> int:
        """How far checkpoints are from each other: a power of two, so that they stay where they are as a log grows."""
        return max(APART_LEAST, 1 << (self.end // CHECKPOINTS).bit_length())

    def _begin_at(self, position: int) -> None:
        if not position:
            self._views, self._replay = MemoryViewStore(), Replay()
        else:
            self._checkpoints.move_to_end(position)
            kept = self._checkpoints[position]
            ledger = snapshot.load(zlib.decompress(kept.ledger))
            assert ledger is not None, "a checkpoint is read by the program that has made it"
            self._views, self._replay = kept.views.copy(), Replay(ledger, kept.digest)
        self._projector = Projector(self._store, self._views)

    def _keep(self) -> None:
        position = self._projector.position
        if position in self._checkpoints:
            return
        ledger = zlib.compress(snapshot.dump(self._replay.ledger), 1)
        self._checkpoints[position] = _Checkpoint(self._views.copy(), ledger, self._replay.digest)
        self._bytes += len(ledger)
        while self._bytes > CHECKPOINT_BYTES or len(self._checkpoints) > 2 * CHECKPOINTS:
            _, gone = self._checkpoints.popitem(last=False)
            self._bytes -= len(gone.ledger)


def _why_not(at: Moment, position: int, end: int) -> str:
    if not end:
        return "nothing has been recorded yet"
    if at.time is not None:
        return f"nothing had been recorded by {stamp(at.time)}"
    return f"there is no position {position}: the log has positions 1 to {end}"
