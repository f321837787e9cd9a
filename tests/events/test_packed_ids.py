"""The memory of ids is packed, and says the same as a plain dict that forgets its oldest."""

import json
import random
import tracemalloc
from collections.abc import Callable

import pytest

from tallystick.events.log import snapshot
from tallystick.events.state import ids as module
from tallystick.events.state.ids import Ids
from tests.support.core import Core, fleet, use


class Plain:
    """The same memory as it would be written without a thought of its size."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def add(self, id: str, position: int) -> None:
        self.known.setdefault(id, position)

    def keep(self, most: int) -> None:
        self.forget(lambda: len(self.known) > most)

    def forget_before(self, position: int) -> None:
        self.forget(lambda: bool(self.known) and next(iter(self.known.values())) < position)

    def forget(self, goes_on: Callable[[], bool]) -> None:
        while goes_on():
            del self.known[next(iter(self.known))]


def same_hash(_: object) -> int:
    return -7


@pytest.mark.parametrize("hashing", [hash, same_hash], ids=["hashed", "all with the same hash"])
@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_added_and_forgotten_it_knows_what_a_plain_dict_knows(
    seed: int, hashing: Callable[[object], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 4)
    monkeypatch.setattr(module, "hash", hashing, raising=False)
    dice = random.Random(seed)
    ids, plain, position = Ids(), Plain(), 0
    names = [f'{n} "ä"' for n in range(60)]
    for _ in range(400):
        match dice.randrange(12):
            case 0:
                most = dice.randrange(30)
                ids.keep(most)
                plain.keep(most)
            case 1:
                before = position - dice.randrange(40)
                ids.forget_before(before)
                plain.forget_before(before)
            case 2:
                ids = Ids.load(*ids.dump())
            case 3:
                several = [(dice.choice(names), position + n) for n in range(1, dice.randrange(2, 12))]
                most, texts = dice.randrange(1, 40), [name for name, _ in several]
                new = len(set(texts)) == len(texts) and plain.known.keys().isdisjoint(texts)
                assert new or not ids.are_new(texts)
                # Whether they are new may be known, and may have to be found.
                known = new and dice.choice((True, False))
                ids.add_all(texts, [position for _, position in several], most, new=known)
                for name, position in several:
                    plain.add(name, position)
                    plain.keep(most)
            case _:
                position += dice.choice((1, 1, 3))
                # Those that are remembered already, too, and those that were forgotten.
                name = dice.choice(names)
                assert ids.get(name) == plain.known.get(name)
                ids.add(name, position)
                plain.add(name, position)
        assert (len(ids), list(ids)) == (len(plain.known), list(plain.known))
        assert {name: ids.get(name) for name in names if name in ids} == plain.known
        assert [json.loads(part) for part in ids.dump()] == [list(plain.known), list(plain.known.values())]


def test_an_id_more_takes_less_than_64_bytes() -> None:
    ids = Ids()
    for n in range(10_000):
        ids.add(f"c-{n:010d}", n + 1)
    tracemalloc.start()
    for n in range(10_000, 40_000):
        ids.add(f"c-{n:010d}", n + 1)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 64 * 30_000


def test_a_snapshot_lists_the_ids_and_their_positions_as_it_always_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 4)
    core = Core(fleet(10**9, idempotency_ids_max=10), *(use("ann", n + 1) for n in range(20)))
    dumped = snapshot.dump(core.ledger)
    said = json.loads(dumped)
    assert said["ids"] == [f"id-{n}" for n in range(12, 22)]
    assert dict(zip(said["ids"], said["id_positions"], strict=True)) == dict(core.ledger.ids)
    loaded = snapshot.load(dumped)
    assert loaded is not None
    assert dict(loaded.ids) == dict(core.ledger.ids)
    assert snapshot.dump(loaded) == dumped


def test_a_snapshot_whose_ids_do_not_have_a_position_each_is_not_taken() -> None:
    dumped = snapshot.dump(Core(fleet(10**9), use("ann", 1)).ledger)
    assert snapshot.load(dumped.replace(b'"ids":["id-1",', b'"ids":[')) is None
    assert snapshot.load(dumped) is not None
