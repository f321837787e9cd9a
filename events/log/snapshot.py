"""The whole state as bytes, the same bytes for the same state: so that a restart is quick however long the log is.

A snapshot is a cache. Its SHA-256 is in the log (`SnapshotRecorded`); one that does not match is ignored, all can be
deleted, and ``audit verify`` trusts none.
"""

import datetime as dt
import hashlib
import zlib
from collections import deque
from operator import attrgetter
from typing import Any, Final

import msgspec

from tallystick.config.amounts import Triple
from tallystick.config.kinds import Priority
from tallystick.config.loader import restore, to_mapping
from tallystick.config.prices import from_mapping as prices_from_mapping
from tallystick.config.prices import to_mapping as prices_to_mapping
from tallystick.events.catalog import rules_version
from tallystick.events.evolve.account_limits import cap
from tallystick.events.evolve.day import hold_for
from tallystick.events.evolve.limits import recount
from tallystick.events.evolve.tasks import relevel
from tallystick.events.log.task_snapshot import PackedTasks, kept, pack, unpack
from tallystick.events.state.accounts import ROOT, Account, Hold
from tallystick.events.state.bills import Bill
from tallystick.events.state.charged import Charged
from tallystick.events.state.day import Day
from tallystick.events.state.delegation import Child, Delegation
from tallystick.events.state.ended_holds import EndedHolds
from tallystick.events.state.estimates import Estimates
from tallystick.events.state.growth import NO_STEPS
from tallystick.events.state.history import History
from tallystick.events.state.holds import list_hold
from tallystick.events.state.ids import Ids
from tallystick.events.state.keys import Keys
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO, Money
from tallystick.events.state.outbox import Notice
from tallystick.events.state.outputs import Outputs
from tallystick.events.state.remembered import Closed
from tallystick.events.state.rules import Rules
from tallystick.events.state.slot_time import SlotTimes
from tallystick.events.state.terms import shared

FORMAT = 25
"""Raised whenever what follows changes its meaning; a snapshot of another format is ignored."""


class _State(msgspec.Struct):
    format: int
    position: int
    now: dt.datetime
    config: dict[str, Any]
    overrides: dict[str, Priority]
    configured: bool
    rules_version: int
    prices: dict[str, Any]
    root: Account
    reserve: Account
    accounts: list[msgspec.Raw]
    holds: list[Hold]
    spent: Money
    held: Money
    opening: Money
    budget: Triple
    period_ends: dt.datetime | None
    response: int
    paused: str | None
    reserve_open: bool
    given_up: dict[str, str]
    unpriced: list[str]
    outbox: list[Notice]
    pool_exhausted_at: int
    ids: msgspec.Raw
    id_positions: msgspec.Raw
    id_marks: list[tuple[dt.datetime, int]]
    next_mark: dt.datetime
    late_holds: msgspec.Raw
    ended: msgspec.Raw
    lives: list[Closed]
    stops: dict[str, str]
    history: list[Any]
    tasks: PackedTasks
    estimates: list[Any]
    day: list[Any]
    promises: list[Any]
    slot_times: list[Any]
    charged: list[Any]
    limits: list[Any]
    done: dict[str, tuple[int, int, int]]
    opened_at: dt.datetime
    leases_begun_at: dt.datetime
    outputs: list[Any]
    clock_apart_ms: int
    period_began: int
    period_began_at: dt.datetime
    corrections: list[tuple[int, int]]
    keys: list[Any]
    delegated: dict[str, Child]
    delegation: Delegation | None
    stopped_above: str | None
    bills: list[tuple[str, Bill]]


_kept_account, _kept_hold = kept(Account), kept(Hold)
_encoder = msgspec.json.Encoder()
_SHARED: Final = (
    *("parent_id", "agent_type", "product", "workflow", "model", "allocated"),
    *("held", "delegated", "closed", "borrowed", "drawn", "given_back", "cover", "owed"),
    *("opened_at", "activity_at", "last_report_at", "heard_at"),
)
"""The fields of accounts in which many have equal values."""
_may_be_shared = attrgetter(*_SHARED)
_decoder, _account_decoder = msgspec.json.Decoder(_State), msgspec.json.Decoder(Account)


def fingerprint(snapshot: bytes) -> str:
    """The SHA-256 of a snapshot, as the log records it: of the state as JSON, packed or not."""
    return hashlib.sha256(unpacked(snapshot)).hexdigest()


def packed(snapshot: bytes) -> bytes:
    """A snapshot as it is stored: a fraction as large, so that to write it keeps the log for a moment only."""
    return zlib.compress(snapshot, 1)


def unpacked(snapshot: bytes) -> bytes:
    """The state as JSON, of a snapshot as it is stored, or as stores had it before they were packed."""
    if snapshot[:1] == b"{":
        return snapshot
    try:
        return zlib.decompress(snapshot)
    except zlib.error:
        return snapshot  # it is damaged, as its fingerprint shows


def dump(ledger: Ledger) -> bytes:
    """The state as JSON. The order of open accounts is that of their opening, so equal histories give equal bytes."""
    rules, (ids, id_positions) = ledger.rules, ledger.ids.dump()
    late_holds, ended = ledger.ended_holds.dump()
    return _encoder.encode(
        _State(
            format=FORMAT,
            position=ledger.position,
            now=ledger.now,
            config=to_mapping(rules.loaded),
            overrides=dict(rules.overrides),
            configured=ledger.configured,
            rules_version=ledger.rules_version,
            prices=prices_to_mapping(rules.prices),
            root=_kept_account(ledger.root),
            reserve=_kept_account(ledger.reserve),
            accounts=[_kept_account(account) for account in ledger.accounts.values()],
            holds=[_kept_hold(hold) for hold in ledger.holds.values()],
            spent=_triple(ledger.spent),
            held=_triple(ledger.held),
            opening=ledger.opening,
            budget=ledger.budget,
            period_ends=ledger.period_ends,
            response=ledger.response,
            paused=ledger.paused,
            reserve_open=ledger.reserve_open,
            given_up=ledger.given_up,
            unpriced=list(ledger.unpriced),
            outbox=list(ledger.outbox.values()),
            pool_exhausted_at=ledger.pool_exhausted_at,
            ids=msgspec.Raw(ids),
            id_positions=msgspec.Raw(id_positions),
            id_marks=list(ledger.id_marks),
            next_mark=ledger.next_mark,
            late_holds=msgspec.Raw(late_holds),
            ended=msgspec.Raw(ended),
            lives=list(ledger.lives.values()),
            stops=ledger.stops,
            history=ledger.history.dump(),
            tasks=pack(ledger.tasks),
            estimates=ledger.estimates.dump(),
            day=ledger.day.dump(),
            promises=ledger.commitments.dump(),
            slot_times=ledger.slot_times.dump(),
            charged=ledger.charged.dump(),
            limits=ledger.limits.dump(),
            done=ledger.done,
            opened_at=ledger.opened_at,
            leases_begun_at=ledger.leases.begun_at,
            outputs=ledger.outputs.dump(),
            clock_apart_ms=ledger.clock_apart_ms,
            period_began=ledger.period_began,
            period_began_at=ledger.period_began_at,
            corrections=list(ledger.corrections.items()),
            keys=ledger.keys.dump(),
            delegated=ledger.delegated,
            delegation=ledger.delegation,
            stopped_above=ledger.stopped_above,
            bills=list(ledger.bills.items()),
        )
    )


def load(snapshot: bytes) -> Ledger | None:
    """The state that a snapshot holds; None where it is of another format or damaged."""
    try:
        state = _decoder.decode(unpacked(snapshot))
        ids, accounts = Ids.load(state.ids, state.id_positions), _accounts(state)
        ended = EndedHolds.load(state.late_holds, state.ended)
    except msgspec.DecodeError:
        return None
    if state.format != FORMAT or state.rules_version > rules_version.RULES_VERSION:
        return None
    ledger = Ledger()
    ledger.rules = Rules(restore(state.config), prices_from_mapping(**state.prices), state.overrides)
    ledger.configured, ledger.rules_version = state.configured, state.rules_version
    ledger.position, ledger.now = state.position, state.now
    ledger.root, ledger.reserve = state.root, state.reserve
    ledger.root.link(None)
    ledger.reserve.link(ledger.root)
    ledger.leases.renew(state.leases_begun_at)
    for account in accounts:
        _open(ledger, account)
    ledger.names = sorted(ledger.accounts)
    ledger.spent, ledger.held, ledger.opening = list(state.spent), list(state.held), state.opening
    ledger.budget, ledger.period_ends = state.budget, state.period_ends
    ledger.response, ledger.paused, ledger.given_up = state.response, state.paused, state.given_up
    ledger.delegated, ledger.delegation, ledger.stopped_above = state.delegated, state.delegation, state.stopped_above
    ledger.reserve_open, ledger.pool_exhausted_at = state.reserve_open, state.pool_exhausted_at
    ledger.unpriced = dict.fromkeys(state.unpriced)
    ledger.outbox = {notice.alert: notice for notice in state.outbox}
    ledger.ids, ledger.id_marks, ledger.next_mark = ids, deque(state.id_marks), state.next_mark
    ledger.ended_holds, ledger.stops = ended, state.stops
    ledger.lives = {closed.life: closed for closed in state.lives}
    ledger.released = {closed.id: closed for closed in state.lives if closed.id not in ledger.accounts}
    ledger.released_order = deque((closed.position, closed.life) for closed in state.lives)
    ledger.history = History.load(state.history)
    ledger.tasks = unpack(state.tasks)
    relevel(ledger)
    ledger.estimates = Estimates.load(state.estimates)
    ledger.day = Day.load(state.day, ledger.rules.limits)
    _commit(ledger, state.promises)
    for hold in state.holds:
        hold.account = ledger.accounts[hold.agent]
        ledger.holds[hold.id] = hold
        list_hold(ledger, hold)
        hold_for(ledger, hold, 1)
    own = {rule.name: rule for account in ledger.accounts.values() for rule in account.caps if account.terms.limits}
    ledger.limits.load(state.limits, {**ledger.rules.limits.by_name, **own})
    recount(ledger)
    ledger.slot_times, ledger.charged = SlotTimes.load(state.slot_times), Charged.load(state.charged)
    ledger.done = state.done
    ledger.outputs = Outputs.load(state.outputs)
    ledger.bills = dict(state.bills)
    ledger.opened_at, ledger.clock_apart_ms = state.opened_at, state.clock_apart_ms
    ledger.period_began, ledger.period_began_at = state.period_began, state.period_began_at
    ledger.corrections, ledger.keys = dict(state.corrections), Keys.load(state.keys)
    ledger.find_response_lines()
    return ledger


class _Format(msgspec.Struct):
    format: int


def is_foreign(snapshot: bytes) -> bool:
    """Whether a snapshot is of another format than the one that is written now."""
    try:
        return msgspec.json.decode(unpacked(snapshot), type=_Format).format != FORMAT
    except msgspec.DecodeError:
        return False


def _accounts(state: _State) -> list[Account]:
    """The open accounts. They share what is equal, as those do that open one by one: else each would be twice as large.

    One is read after the other, so that what is not kept of one makes room for the next.
    """
    known: dict[Any, Any] = {ZERO: ZERO}
    accounts = []
    for text in state.accounts:
        account = _account_decoder.decode(text)
        for field, value in zip(_SHARED, _may_be_shared(account), strict=True):
            if (same := known.setdefault(value, value)) is not value:
                setattr(account, field, same)
        account.terms = shared(account.terms)
        if account.growth == NO_STEPS:
            account.growth = NO_STEPS
        accounts.append(account)
    return accounts


def _open(ledger: Ledger, account: Account) -> None:
    """Give an account its place; each was opened after those above it."""
    parent = ledger.root if account.parent_id == ROOT else ledger.accounts[account.parent_id or ""]
    account.link(parent)
    ledger.accounts[account.id] = account
    if account.terms.limits:
        cap(ledger, account)
    if account.terms.lease_ms:
        ledger.leases.list_account(account)
    if parent is not ledger.root:
        if parent.children is None:
            parent.children = {}
        parent.children[account.id] = account


def _commit(ledger: Ledger, spent: list[Any]) -> None:
    """What runs may still use, and which accounts they are: each was opened after those above it."""
    for account in ledger.accounts.values():
        assert account.parent is not None
        account.run = account.id if account.id in ledger.tasks.running else account.parent.run
        ledger.count_account(account, 1)
    for name, tokens in spent:
        task = ledger.tasks.running[name]
        ledger.commitments.start(name, task.product, task.model or "", task.day_tokens)
        ledger.commitments.spend(name, tokens)


def _triple(values: list[int]) -> Money:
    return (values[0], values[1], values[2])
