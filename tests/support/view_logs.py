"""Logs for tests of views: events put into a store as the manager would have, and rows as anyone can read them."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.catalog import STORED_NAME
from tallystick.events.decide import decide
from tallystick.events.log.codec import GENESIS, digest_of, seal
from tallystick.events.log.store import Record, Store, open_store
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.state.ledger import Ledger
from tallystick.projections.reports.status import Status
from tallystick.projections.store.kept_views import KeptViews
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.rebuilding import renew
from tallystick.projections.store.runner import catch_up, kept_views
from tallystick.projections.store.view_store import MemoryViewStore
from tallystick.projections.views.all_views import ALL_VIEWS, ViewTypes
from tests.support.core import START, Core, allocate, fleet, hold, use
from tests.support.view_places import Views, sql


def write(store: Store, events: Iterable[e.Event]) -> None:
    """Append events behind what is there."""
    last = store.last()
    digest = GENESIS if last is None else digest_of(last.data)
    records = []
    for event in events:
        data, digest = seal(event, None, None, digest)
        records.append(Record(event.position, STORED_NAME[type(event)], data))
    store.append(records)


def stored(events: Iterable[e.Event]) -> MemoryStore:
    """A store with a log."""
    store = MemoryStore()
    write(store, events)
    return store


def status_of(core: Core) -> Status:
    """What the views say of everything that happened."""
    view_store = MemoryViewStore()
    catch_up(stored(core.log), view_store)
    return Status(view_store)


def rows_in(views: Views) -> list[tuple[object, ...]]:
    """Every row of live views that are kept, as it lies there."""
    if isinstance(views, Path):
        return sql(views, "SELECT view, id, live, row FROM shown ORDER BY view, id")
    return sql(views, "SELECT view, id, live::int, row::text FROM shown ORDER BY view, id")


def rows_of(view_store: MemoryViewStore) -> list[tuple[object, ...]]:
    """The same of views in memory."""
    kept = view_store._rows
    return [(view, id, row.live, row.data.decode()) for view in sorted(kept) for id, row in sorted(kept[view].items())]


def views_of(url: str) -> Path:
    """The file of the views of a store in a file."""
    return Path(f"{url.removeprefix('sqlite:///')}.views")


def opened_views(url: str, kinds: ViewTypes = ALL_VIEWS) -> KeptViews:
    """The views of a store that keeps them."""
    found = kept_views(url, kinds)
    assert found is not None
    return found


def bring_up(url: str, upto: int | None = None, kinds: ViewTypes = ALL_VIEWS) -> int:
    """What a process that reads the views does first, as far as a position; the position reached."""
    with closing(open_store(url)) as store, closing(opened_views(url, kinds)) as view_store:
        renew(store, view_store)
        return Projector(store, view_store).catch_up(upto)


def busy_fleet(reports: int) -> Sequence[e.Event]:
    """A log of some fifty agents that report, hold, settle, run over, are released and come again."""
    ledger = Ledger()
    log: list[e.Event] = []
    dice = Random(7)
    names = [f"a-{number}" for number in range(50)]
    commands: list[c.Command] = [fleet(1_000_000, "50"), *(allocate(name, 10_000, "0.1") for name in names)]
    for number in range(reports):
        name, kind = dice.choice(names), dice.randint(0, 99)
        if kind < 8:
            commands.append(hold(name, f"h-{number}", 50, ttl_seconds=None))
        elif kind < 10:
            commands.append(c.ReleaseBudget(agent=name))
        elif kind < 14:
            commands.append(allocate(name, 5_000))
        else:
            commands.append(use(name, dice.randint(0, 200), "0.0001"))
    for number, command in enumerate(commands):
        log += decide(ledger, command, START, command.id or f"c-{number}", "tests").events
    return log
