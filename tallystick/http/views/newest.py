"""A fleet as it is now: the views follow the log in their own file, and the core's state follows it in memory."""

import datetime as dt

from tallystick.events.log import snapshot
from tallystick.events.log.audit import Replay
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import Store
from tallystick.events.state.ledger import Ledger
from tallystick.http.views.state import State
from tallystick.projections.store.as_of import NotThere
from tallystick.projections.store.runner import catch_up, open_view_store
from tallystick.projections.store.view_store import MemoryViewStore, NotKept, ViewStore


class Newest:
    """Follows one store's log. With ``log_time`` it is always the time of the newest event, else that of the clock.

    Raises:
        BrokenChain: a record is not what was written.
        StoreError: the log could not be read.
    """

    def __init__(self, store: Store, *, log_time: bool) -> None:
        self._store, self._log_time = store, log_time
        self._views: ViewStore | None = None
        self._replay: Replay | None = None

    def state(self) -> State:
        """The newest state.

        Raises:
            NotThere: nothing has been recorded yet.
        """
        if not self._caught_up():
            raise NotThere("nothing has been recorded yet")
        assert self._views is not None
        now = None if self._log_time else dt.datetime.now(dt.UTC)
        return State(self._views, now, self._ledger, live=not self._log_time)

    def _caught_up(self) -> int:
        try:
            self._views = self._views or open_view_store(self._store.url)
            return catch_up(self._store, self._views)
        except NotKept:
            # Beside this log no file can be written.
            self._views = self._views if isinstance(self._views, MemoryViewStore) else MemoryViewStore()
            return catch_up(self._store, self._views)

    def _ledger(self) -> Ledger:
        if self._replay is None:
            self._replay = Replay(*open_ledger(self._store))
        for record in self._store.read(self._replay.ledger.position):
            self._replay.apply(self._replay.prove(record))
        ledger = snapshot.load(snapshot.dump(self._replay.ledger))
        assert ledger is not None, "a state is read back by the program that has written it"
        return ledger
