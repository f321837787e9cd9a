"""What must hold of a fuzzed fleet's log and views, found from the store alone."""

from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.spelling import recorded_id
from tallystick.events.log import snapshot
from tallystick.events.log.codec import decode_event
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import open_store
from tallystick.events.state.ledger import Ledger
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.rebuilding import renew
from tallystick.projections.store.runner import catch_up, place_of
from tallystick.projections.store.view_file import ViewFile
from tallystick.projections.store.view_store import MemoryViewStore
from tests.support.fuzz_session import Step
from tests.support.second_ledger import DIMENSIONS, Books
from tests.support.view_logs import rows_in, rows_of


class Finding(AssertionError):
    """Something that must not happen. ``sort`` says what in few words: it stays the same while a session is cut."""

    def __init__(self, sort: str, text: str) -> None:
        super().__init__(f"{sort}: {text}")
        self.sort = sort
        self.played: list[Step] = []
        """The steps up to it, names put in."""


def follow_views(url: str) -> None:
    """Bring the views on disk up to the log, and hold them against views that are made anew."""
    place = place_of(url)
    assert place is not None
    with closing(open_store(url)) as store:
        with closing(ViewFile(place.views)) as file:
            renew(store, file)
            Projector(store, file).catch_up()
        anew = MemoryViewStore()
        catch_up(store, anew)
    followed = {(view, id, bool(live), row) for view, id, live, row in rows_in(Path(place.views))}
    if followed != set(rows_of(anew)):
        raise Finding("views", "\n".join(map(str, list(followed ^ set(rows_of(anew)))[:4])))


def compare_log(url: str, ledger: Ledger, expected: Mapping[str, int], said: Mapping[str, int]) -> None:
    """A replay from the first record gives the state, and the tokens of the log are those that were reported."""
    by_id: Counter[str] = Counter()
    books = Books()
    with closing(open_store(url)) as store:
        if snapshot.dump(open_ledger(store).ledger) != snapshot.dump(ledger):
            raise Finding("replay", "it does not give the state that was left")
        for record in store.read():
            event = decode_event(record.data, record.name)
            books.keep(event)
            if isinstance(event, e.UsageReported | e.HoldSettled):
                by_id[event.id] += event.tokens
    _compare_books(books, ledger)
    # Under a misspelled id, a report is recorded under what that shows.
    recorded = {id: by_id[id] or by_id[recorded_id(Ledger(), c.ReportUsage(id=id))] for id in expected}
    lost = {
        id: (tokens, recorded[id])
        for id, tokens in expected.items()
        if recorded[id] not in [tokens * times for times in range(1, said[id] + 1)]
    }
    if lost:
        raise Finding("lost usage", f"reported and recorded by id: {lost}")


def _compare_books(books: Books, ledger: Ledger) -> None:
    """The balances are those of the books that are kept from the log's events alone."""
    if books.used != ledger.spent:
        raise Finding("spent", f"the log's reports say {books.used}, the ledger {ledger.spent}")
    for name, account in ledger.accounts.items():
        for d in DIMENSIONS:
            if account.allocated[d] is not None:
                here = (account.allocated[d], account.free[d], account.held[d], account.consumed(d))
                there = (books.allocated[name][d], *(books.at(kind, name, d) for kind in ("free", "held", "spent")))
                if here != there:
                    raise Finding("books", f"{name}, dimension {d}: {here} in the ledger, {there} in the books")
    for d in DIMENSIONS:
        if ledger.root.allocated[d] is not None:
            pool, reserve = ledger.pool[d], ledger.in_reserve[d]
            if (pool, reserve) != (books.at("free", "fleet", d), books.at("free", "reserve", d)):
                raise Finding("books", f"dimension {d}: pool {pool} and reserve {reserve}, not as the books say")
