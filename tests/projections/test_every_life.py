"""Whatever happens to those who keep the views, the same log gives the same bytes."""

import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tallystick.events.catalog import Event
from tallystick.projections.store.as_of import views_at
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.rebuilding import rebuild, renew
from tallystick.projections.store.view_file import ViewFile
from tallystick.projections.store.view_store import MemoryViewStore
from tallystick.projections.views.all_views import ALL_VIEWS
from tests.support.eventful import eventful, run
from tests.support.examples import examples
from tests.support.strategies import Step, commands
from tests.support.view_logs import rows_in, rows_of, stored

PROFILE = settings(
    max_examples=examples(40),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
ALL = [kind.name for kind in ALL_VIEWS]


class Died(BaseException):
    """The process that kept the views is no more."""


class Deed(NamedTuple):
    """Something that is done to views: its name, a number of events, and names of views."""

    what: str
    events: int
    names: tuple[str, ...]


DEEDS = st.lists(
    st.builds(
        Deed,
        st.sampled_from(
            ["go on", "restart", "die before the commit", "die behind the commit", "drop", "rebuild", "break off"]
        ),
        st.integers(1, 40),
        st.lists(st.sampled_from(ALL), min_size=1, max_size=3, unique=True).map(tuple),
    ),
    max_size=12,
)


class Life:
    """A file of views, and those who keep it, one after the other."""

    def __init__(self, folder: str, log: list[Event]) -> None:
        self.end = len(log)
        self.store = stored(log)
        self.views = Path(folder) / "fleet.db.views"
        self._open()

    def _open(self) -> None:
        self.view_store = ViewFile(str(self.views))
        renew(self.store, self.view_store)
        self.projector = Projector(self.store, self.view_store)

    def close(self) -> None:
        self.view_store.close()

    def do(self, deed: Deed) -> None:
        upto = min(self.end, self.projector.position + deed.events)
        if deed.what == "go on":
            self.projector.catch_up(upto)
        elif deed.what == "restart":
            self._reopen()
        elif deed.what.startswith("die"):
            self._die(upto, has_written=deed.what == "die behind the commit")
        elif deed.what == "drop":
            self.view_store.drop(deed.names)
            self._reopen()
        elif deed.what == "rebuild":
            at = self.projector.position
            assert rebuild(self.store, self.view_store, deed.names).position == (at or self.end)
            self._reopen()
        else:
            with closing(self.view_store.beside()) as beside:
                if beside.missing():
                    beside.reset()
                Projector(self.store, beside).catch_up(deed.events)

    def _reopen(self) -> None:
        self.view_store.close()
        self._open()

    def _die(self, upto: int, has_written: bool) -> None:
        keep: Callable[..., None] = self.view_store.keep

        def keep_and_die(*page: Any) -> None:
            if has_written:
                keep(*page)
            raise Died

        self.view_store.keep = keep_and_die  # type: ignore[method-assign]
        with suppress(Died):
            self.projector.catch_up(upto)
        self._reopen()


@PROFILE
@given(commands(), DEEDS)
@example([], [Deed("rebuild", 1, ("agents",)), Deed("drop", 1, ("fleet",)), Deed("break off", 9, ("fleet",))])
def test_any_life_of_the_views_leads_to_the_same_bytes(steps: list[Step], deeds: list[Deed]) -> None:
    log = run(steps).log
    with tempfile.TemporaryDirectory() as folder, closing(Life(folder, log)) as life:
        for deed in deeds:
            life.do(deed)
            position = life.projector.position
            if position:
                assert rows_in(life.views) == rows_of(views_at(life.store, position)), f"behind {deed}"
        life.projector.catch_up()
        whole = MemoryViewStore()
        Projector(life.store, whole).catch_up()
        assert rows_in(life.views) == rows_of(whole)


EVENTFUL = eventful().log


@PROFILE
@given(st.integers(1, len(EVENTFUL)), st.lists(st.sampled_from(ALL), min_size=1, unique=True), st.booleans())
def test_a_view_that_was_dropped_and_rebuilt_equals_the_live_one_wherever_it_was(
    position: int, names: list[str], is_restored: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder, closing(Life(folder, EVENTFUL)) as life:
        life.projector.catch_up(position // 2)
        if is_restored:
            life.do(Deed("restart", 0, ()))
        life.projector.catch_up(position)
        before = rows_in(life.views)
        life.view_store.drop(names)
        made = rebuild(life.store, life.view_store, names).position
        assert made == (len(EVENTFUL) if set(names) == set(ALL) else position)
        assert rows_in(life.views) == (before if made == position else rows_of(views_at(life.store, made)))
