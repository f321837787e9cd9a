"""Sources in a fleet: known for ever, over restarts and snapshots, in the batch at hand and in the log."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tallystick.actors import manager as manager_module
from tallystick.actors.runtime.fleet import Fleet
from tallystick.config.loader import from_mapping
from tallystick.events.log.codec import decode_event
from tallystick.events.log.sources import entries_of
from tallystick.events.log.store import Store, open_store
from tallystick.events.log.store_memory import MemoryStore
from tests.support.core import START
from tests.support.driving import simulated
from tests.support.running import QUIET
from tests.support.whatif import reproduce

CONFIG = from_mapping({**QUIET, "idempotency_ids_max": 1_000, "reallocation": {"enabled": False}})
OPENED = {"type": "AllocateBudget", "id": "open", "agent": "a", "budget": {"tokens": 1_000}}


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    """A snapshot every few events."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager_module, "SNAPSHOT_EVERY", 20)
        yield


def said(id: str, source: str, used: int, **rest: Any) -> dict[str, Any]:
    return {"type": "ReportUsage", "id": id, "agent": "a", "source_id": source, "usage": {"tokens": used}, **rest}


def index_of_log(store: Store) -> dict[str, int]:
    return dict(entries_of(decode_event(record.data, record.name) for record in store.read()))


def test_a_source_is_known_after_a_restart_and_when_its_message_is_long_forgotten(tmp_path: Path) -> None:
    url, later = f"sqlite:///{tmp_path}/fleet.db", START + dt.timedelta(days=90)
    for at, id in ((START, "r-1"), (later, "r-2")):
        store = open_store(url, writer=True)
        messages = [(at, OPENED), *((at, said(f"{id}-{n}", f"msg-{n}", n + 1)) for n in range(60))]
        outcome = simulated(messages, CONFIG, store=store)
        assert outcome.ledger.spent[0] == sum(range(1, 61))
        assert dict(store.sources.entries()) == index_of_log(store)
        store.close()
    assert outcome.replies[-1]["ok"]["recorded"] is False


def test_a_source_is_known_within_the_batch_that_brings_it(tmp_path: Path) -> None:
    with Fleet.open(f"sqlite:///{tmp_path}/fleet.db", CONFIG) as fleet:
        replies = fleet.ask([OPENED, *(said(f"r-{n}", "msg", 10 + n // 2) for n in range(9))])
        recorded = [reply["ok"].get("recorded", True) for reply in replies[1:]]
        assert recorded == [True, False, True, False, True, False, True, False, True]
        assert replies[-1]["ok"]["counted"]["tokens"] == 14
        assert fleet.ask({"type": "GetStatus", "agent": "a"})["ok"]["consumed"]["tokens"] == 14


def test_the_same_message_again_is_answered_from_the_log_and_not_from_the_index() -> None:
    first = said("r", "msg", 10)
    outcome = simulated([(START, OPENED), (START, first), (START, said("s", "msg", 12)), (START, first)], CONFIG)
    assert outcome.replies[1] == outcome.replies[3]
    assert "repeats" not in outcome.replies[3]["ok"]


def test_an_index_that_names_something_else_stops_the_fleet_before_it_drops_usage() -> None:
    store = MemoryStore()
    simulated([(START, OPENED), (START, said("r", "msg", 10))], CONFIG, store=store)
    store.sources.add([("other", 1)], 1)
    with pytest.raises(Exception, match="the index of sources is wrong: it names position 1 for other"):
        simulated([(START, said("s", "other", 10))], CONFIG, store=store)


@pytest.mark.parametrize("seed", range(12))
def test_over_restarts_and_snapshots_the_largest_figure_of_each_source_counts_once(seed: int) -> None:
    dice, store = Random(seed), MemoryStore()
    largest: dict[str, int] = {}
    now, ids = START, iter(range(10**6))
    for _ in range(4):
        messages = [(now, OPENED)]
        for _ in range(dice.randrange(60)):
            now += dt.timedelta(hours=dice.choice((0, 0, 1, 30)))
            source, used = f"msg-{dice.randrange(15)}", dice.randrange(1, 50)
            hold = f"h-{next(ids)}"
            if dice.random() < 0.4:
                messages.append((now, {"type": "Reserve", "id": hold, "agent": "a", "estimate": {"tokens": 1}}))
                settled = {"type": "Settle", "id": f"s{hold}", "hold": hold, "source_id": source}
                messages.append((now, {**settled, "usage": {"tokens": used}}))
            else:
                messages.append((now, said(hold, source, used, agent=dice.choice("ab"))))
            largest[source] = max(largest.get(source, 0), used)
        if dice.random() < 0.3:
            store.sources.clear()
        outcome = simulated(messages, CONFIG, store=store)
        assert all("ok" in reply for reply in outcome.replies[1:])
        assert outcome.ledger.spent[0] == sum(largest.values())
    assert dict(store.sources.entries()) == index_of_log(store)
    reproduce(list(store.read()))
