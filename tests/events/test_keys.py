"""Keys of the HTTP service: valid from their creation to their end, in the log by their SHA-256 only."""

import datetime as dt
from decimal import Decimal

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.events.messages.access_replies import KeyShown, KeysListed
from tallystick.events.state import keys as state
from tallystick.events.state.keys import Keys
from tests.support.core import START, Core, fleet

HOUR = dt.timedelta(hours=1)
EAST, WEST = dt.timezone(14 * HOUR), dt.timezone(-14 * HOUR)
"""Where the first moment of all is still in no year of UTC, and where the last one is in none any more."""


def digest(n: int) -> str:
    return f"{n:02x}" * 32


def key(name: str, n: int, **named: object) -> c.CreateKey:
    return c.CreateKey(**{"key": name, "role": "auditor", "sha256": digest(n), **named})  # type: ignore[arg-type]


@pytest.fixture
def core() -> Core:
    return Core().given(fleet(1_000))


def test_a_key_is_found_by_its_digest_until_it_ends(core: Core) -> None:
    keys = core.ledger.keys
    assert not keys
    answer = core.when(key("ann", 1, role="agent", agent="a", expires_at=START + 2 * HOUR))
    assert answer == KeyShown("ann", "agent", "valid", "a", START + 2 * HOUR)
    found = keys.find(digest(1))
    assert found is not None
    assert (found.name, found.agent, found.invalid_since(core.now)) == ("ann", "a", None)
    assert found.invalid_since(START + 2 * HOUR) == ("expired", START + 2 * HOUR)
    # Another digest that begins alike is another key's, or nobody's.
    assert keys.find(digest(1)[:40] + "0" * 24) is None
    assert keys.find(digest(2)) is None
    core.when(c.RevokeKey(key="ann", reason="lost"))
    assert found.invalid_since(core.now) == ("revoked", core.now)
    assert keys, "the service stays closed"


def test_the_event_has_the_digest_and_nothing_else_of_the_key(core: Core) -> None:
    core.when(key("ann", 1, role="operator", approve_up_to_usd=Decimal("12.5")))
    assert core.only(e.KeyCreated).sha256 == digest(1)
    assert core.only(e.KeyCreated).approve_up_to_nanos == 12_500_000_000


@pytest.mark.parametrize(
    ("command", "code", "names"),
    [
        (key("x", 9, role="agent"), "invalid_message", "agent: "),
        (key("x", 9, expires_at=START), "invalid_message", "expires_at: "),
        (key("x", 9, expires_at=dt.datetime.max.replace(tzinfo=WEST)), "invalid_message", "up to 9999"),
        (key("x", 9, expires_at=dt.datetime.min.replace(tzinfo=EAST)), "invalid_message", "expires_at: "),
        (key("x", 9, approve_up_to_usd=Decimal(1)), "invalid_message", "approve_up_to_usd: "),
        (key("x", 9, role="operator", approve_up_to_usd=Decimal(-1)), "invalid_amount", "approve_up_to_usd: "),
        (key("x\u200b", 9), "invalid_message", "key: "),
        (key("x", 9, agent="fleet"), "invalid_message", "agent: "),
        (key("ann", 9), "already_created", "ann"),
        (key("x", 1), "already_created", "x"),
        (c.RevokeKey(key="no one"), "unknown_key", "no one"),
    ],
)
def test_what_is_no_key_is_refused(core: Core, command: c.Command, code: str, names: str) -> None:
    core.given(key("ann", 1))
    core.when(command)
    assert names in core.then_refused(code).detail


def test_a_key_is_revoked_once(core: Core) -> None:
    core.given(key("ann", 1), c.RevokeKey(key="ann"))
    core.when(c.RevokeKey(key="ann"))
    core.then_refused("already_revoked")
    core.when(key("ann", 2))
    core.then_refused("already_created")


def test_a_list_has_pages_and_no_digests(core: Core) -> None:
    core.given(*(key(name, n) for n, name in enumerate("dbca")), c.RevokeKey(key="b"))
    page = core.when(c.ListKeys(limit=3))
    assert isinstance(page, KeysListed)
    assert [(one.key, one.state) for one in page.keys] == [("a", "valid"), ("b", "revoked"), ("c", "valid")]
    assert page.next == "c"
    rest = core.when(c.ListKeys(after="c"))
    assert ([one.key for one in rest.keys], rest.next) == (["d"], None)
    assert "sha256" not in rest.keys[0].__struct_fields__


def test_use_after_the_end_is_recorded_once_an_hour(core: Core) -> None:
    core.given(key("ann", 1, expires_at=START + HOUR))
    core.when(p.RecordMisuse(key="ann"))
    core.then_events()
    core.wait(3_600).when(p.RecordMisuse(key="ann"))
    core.then_events(e.KeyMisused)
    core.wait(3_599).when(p.RecordMisuse(key="ann"))
    core.then_events()
    core.given(c.RevokeKey(key="ann"))
    core.wait(1).when(p.RecordMisuse(key="ann"))
    assert core.only(e.KeyMisused).why == "revoked"
    core.when(p.RecordMisuse(key="no one"))
    core.then_events()


def test_there_are_bounds(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "REVOKED_KEPT", 2)
    monkeypatch.setattr("tallystick.events.decide.keys.KEYS_MAX", 3)
    core.given(*(key(f"k{n}", n) for n in range(3)))
    core.when(key("k3", 3))
    core.then_refused("too_many_keys")
    core.given(*(c.RevokeKey(key=f"k{n}") for n in (1, 0, 2)), key("k3", 3))
    assert sorted(core.ledger.keys.by_name) == ["k0", "k2", "k3"]
    assert core.ledger.keys.find(digest(1)) is None
    again = Keys.load(core.ledger.keys.dump())
    assert again.dump() == core.ledger.keys.dump()
    assert (again.valid_count, again.find(digest(3)) is not None) == (1, True)
