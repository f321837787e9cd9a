"""Records: what was stored is read again, in whatever version; what was changed is found."""

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events.catalog import EVENT_BY_NAME, STORED_NAME
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import GENESIS, UPCASTERS, decode_event, digest_of, exchange_of, seal, unseal

NOON = dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC)
USED = e.UsageReported(position=7, at=NOON, id="c-1", by="ann", agent="ann", tokens=450, cost_nanos=11)


def test_every_event_has_a_stored_name_with_a_version_and_is_a_fact_or_a_decision() -> None:
    assert len(set(STORED_NAME.values())) == len(e.CATALOG)
    for cls, name in STORED_NAME.items():
        assert name.rpartition(".v")[2].isdigit(), name
        assert cls.kind in ("fact", "decision")
        assert EVENT_BY_NAME[name] is cls


def test_a_record_says_what_was_asked_and_answered_byte_for_byte() -> None:
    record, digest = seal(USED, b'{"type":"ReportUsage"}', b'{"ok":{}}', GENESIS)
    exchange = exchange_of(record)
    assert (bytes(exchange.command), bytes(exchange.reply)) == (b'{"type":"ReportUsage"}', b'{"ok":{}}')
    assert decode_event(record, "usage-reported.v1") == USED
    assert unseal(record, GENESIS, 7) == digest == digest_of(record)


def test_a_later_event_of_a_command_has_neither() -> None:
    record, _ = seal(USED, None, None, GENESIS)
    exchange = exchange_of(record)
    assert (bytes(exchange.command), bytes(exchange.reply)) == (b"", b"")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_of_a_record_can_change_unseen(place: int, bit: int) -> None:
    record, _ = seal(USED, b'{"type":"ReportUsage"}', b'{"ok":{}}', GENESIS)
    changed = bytearray(record)
    changed[place % len(record)] ^= 1 << bit
    with pytest.raises(BrokenChain, match="position 7"):
        unseal(bytes(changed), GENESIS, 7)


def test_a_record_follows_only_the_one_before_it() -> None:
    record, _ = seal(USED, None, None, GENESIS)
    with pytest.raises(BrokenChain, match="does not match"):
        unseal(record, bytes(31) + b"\1", 7)


def test_old_versions_are_read_through_every_version_since(monkeypatch: pytest.MonkeyPatch) -> None:
    def to_second(fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "type": "budget-returned.v0.2", "agent": fields["who"]}

    def to_present(fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "type": "budget-returned.v1", "amount": {"tokens": fields["tokens"]}}

    monkeypatch.setitem(UPCASTERS, "budget-returned.v0.1", to_second)
    monkeypatch.setitem(UPCASTERS, "budget-returned.v0.2", to_present)
    fields = {"type": "budget-returned.v0.1", "position": 3, "at": "2026-03-04T12:00:00Z", "who": "ann", "tokens": 5}
    event = decode_event(msgspec.json.encode(fields), "budget-returned.v0.1")
    assert event == e.BudgetReturned(position=3, at=NOON, agent="ann", amount=Amounts(tokens=5))


def test_an_event_of_a_newer_version_is_named() -> None:
    with pytest.raises(ValueError, match=r"usage-reported\.v9 is no event that this tallystick knows"):
        decode_event(b'{"type":"usage-reported.v9"}', "usage-reported.v9")
