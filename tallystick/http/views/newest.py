"""A fleet as it is now: the views follow the log in their own file, and the core's state follows it in memory."""

import datetime as dt
from collections.abc import Iterable, Sequence

from tallystick.events.log import snapshot
from tallystick.events.log.replaying import Replay
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import Store
from tallystick.events.state.ledger import Ledger
from tallystick.http.views.state import State
from tallystick.projections.store.as_of import NotThere
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.runner import catch_up, open_view_store
from tallystick.projections.store.view_store import Kept, MemoryViewStore, NotKept, ViewsMissing, ViewStore


class Still(MemoryViewStore):
    """Views as they are when they are first read: what one page shows is of one position, and read once."""

    def __init__(self, views: ViewStore) -> None:
        super().__init__(views.kinds)
        self._views = views
        self._live = views.live()
        self._whole: dict[str, Sequence[bytes]] = {}

    def live(self) -> Kept:
        return self._live

    def row(self, view: str, id: str) -> bytes | None:
        return self._views.row(view, id)

    def whole(self, views: Iterable[str]) -> Kept:
        names = tuple(views)
        missing = [name for name in names if name not in self._whole]
        if missing:
            self._whole.update(self._views.whole(missing).rows)
        return Kept(self._live.position, self._live.digest, {name: list(self._whole.get(name, ())) for name in names})

    def between(self, view: str, first: str, behind: str) -> Kept:
        return self._views.between(view, first, behind)


class Newest:
    """Follows one store's log. With ``log_time`` it is always the time of the newest event, else that of the clock.

    Raises:
        BrokenChain: a record is not what was written.
        StoreError: the log could not be read.
    """

    def __init__(self, store: Store, *, log_time: bool) -> None:
        self._store, self._log_time = store, log_time
        self._views: ViewStore | None = None
        self._projector: Projector | None = None
        """Goes on where it is: to take up the views anew costs as much as the fleet is large."""
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
        return State(Still(self._views), now, self._ledger, live=not self._log_time, shared=self._followed)

    def _caught_up(self) -> int:
        while True:
            try:
                if self._projector is None:
                    self._views = self._views or open_view_store(self._store.url)
                    catch_up(self._store, self._views)
                    self._projector = Projector(self._store, self._views)
                return self._projector.catch_up()
            except ViewsMissing:
                self._projector = None  # a view was dropped meanwhile
            except NotKept:
                if isinstance(self._views, MemoryViewStore):
                    raise
                self._store.last()  # where the database is away, that is what is wrong
                # The views cannot be written where they are kept.
                self._views, self._projector = MemoryViewStore(), None

    def _followed(self) -> Ledger:
        """The state that follows the log."""
        if self._replay is None:
            self._replay = Replay(*open_ledger(self._store))
        for record in self._store.read(self._replay.ledger.position):
            self._replay.apply(self._replay.prove(record))
        return self._replay.ledger

    def _ledger(self) -> Ledger:
        ledger = snapshot.load(snapshot.dump(self._followed()))
        assert ledger is not None, "a state is read back by the program that has written it"
        return ledger
