"""How much memory an open agent takes: its account, what the tracker keeps of it, and both after a restart."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

from tallystick.actors.policies.forecasting.runs import Runs
from tallystick.events.log import snapshot
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO
from tallystick.events.state.terms import USUAL
from tests.support.core import Core, allocate, fleet, use

AGENTS = 500


def reported() -> Ledger:
    """A fleet of agents each of which has reported twice."""
    names = [f"agent-{n:06d}" for n in range(AGENTS)]
    core = Core(fleet(10**15, idempotency_ids_max=10), *(allocate(name, 10**9) for name in names), compares=False)
    core.given(*(use(name, 1_000 + n) for n, name in enumerate(names * 2)))
    return core.ledger


def size_of(make: Callable[[], Any]) -> float:
    """Bytes for each agent of what ``make`` makes."""
    gc.collect()
    tracemalloc.start()
    made = make()
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert made is not None
    return size / AGENTS


def test_a_restored_agent_takes_no_more_than_one_that_has_opened() -> None:
    dumped = snapshot.dump(reported())
    assert size_of(lambda: snapshot.load(dumped)) < 930


def test_the_tracker_keeps_little_of_an_agent() -> None:
    ledger = reported()
    assert size_of(lambda: Runs(ledger)) < 160


def test_accounts_share_what_is_equal_whether_they_have_opened_or_were_restored() -> None:
    opened = reported()
    restored = snapshot.load(snapshot.dump(opened))
    assert restored is not None
    for ledger in (opened, restored):
        first, *others = ledger.accounts.values()
        for one in others:
            assert one.allocated is first.allocated
            assert one.terms is first.terms
            assert one.held is one.delegated is one.closed is one.cover is one.owed is ZERO
            assert one.heard_at is one.opened_at
    assert len({id(account.parent_id) for account in restored.accounts.values()}) == 1


def test_terms_are_an_accounts_own_where_it_has_labels_and_are_kept_over_a_restart() -> None:
    core = Core(fleet(10**6), allocate("plain", 10), allocate("too", 10))
    core.given(allocate("own", 10, labels={"team": "red"}, lease_seconds=60))
    restored = snapshot.load(snapshot.dump(core.ledger))
    assert restored is not None
    for ledger in (core.ledger, restored):
        plain, too, own = (ledger.accounts[name] for name in ("plain", "too", "own"))
        assert plain.terms is too.terms
        assert plain.terms == USUAL
        assert (own.terms.labels, own.terms.lease_ms) == ({"team": "red"}, 60_000)
        assert own.all_labels == {"team": "red"}
        assert own.leased is own


def test_an_account_has_room_within_the_small_blocks_of_the_allocator() -> None:
    """Beyond 512 bytes, an object is no small one to Python, and takes a third more."""
    assert len(Account.__struct_fields__) * 8 + 32 <= 480
