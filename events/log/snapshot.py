"""The whole state as bytes, the same bytes for the same state: so that a restart is quick however long the log is.

A snapshot is a cache. Its SHA-256 is in the log (`SnapshotRecorded`); one that does not match is ignored, all can be
deleted, and ``audit verify`` trusts none.
"""

import datetime as dt
import hashlib
from collections import deque
from decimal import Decimal
from typing import Any

import msgspec

from tallystick.config.amounts import Amounts, Triple
from tallystick.config.kinds import Priority
from tallystick.config.loader import restore, to_mapping
from tallystick.config.prices import from_mapping as prices_from_mapping
from tallystick.config.prices import to_mapping as prices_to_mapping
from tallystick.events.catalog.forecasts import Prediction
from tallystick.events.evolve.day import hold_for
from tallystick.events.log.task_snapshot import PackedTasks, pack, unpack
from tallystick.events.state.accounts import ROOT, Account, Closed, Hold, Money
from tallystick.events.state.day import Day
from tallystick.events.state.estimates import Estimates
from tallystick.events.state.growth import NO_STEPS
from tallystick.events.state.history import History
from tallystick.events.state.holds import add_hold
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.outbox import Notice
from tallystick.events.state.rules import Rules
from tallystick.events.state.slot_time import SlotTimes

FORMAT = 5
"""Raised whenever what follows changes its meaning; a snapshot of another format is ignored."""


class _Account(msgspec.Struct, array_like=True, gc=False):
    id: str
    parent: str | None
    allocated: Triple
    opened_at: dt.datetime
    priority: Priority
    agent_type: str | None
    product: str | None
    workflow: str | None
    free: Money
    held: Money
    spent: Money
    delegated: Money
    closed: Money
    borrowed: Money
    drawn: Money
    given_back: Money
    cover: Money
    level: int
    throttle: str | None
    stopped: str | None
    warned: bool
    warning: int | None
    pool_notice: int
    activity_at: dt.datetime
    last_report_at: dt.datetime | None
    pace_ms: int
    model: str | None
    reclaimed: bool
    growth: bytes
    forecasts: list[Prediction] | None


class _Hold(msgspec.Struct, array_like=True, gc=False):
    id: str
    agent: str
    amount: Money
    ttl_ms: int
    expires_at: dt.datetime
    lease: str | None


class _Closed(msgspec.Struct, array_like=True, gc=False):
    id: str
    parent: str
    priority: Priority
    allocated: Triple
    consumed: Triple
    position: int
    under: str | None


class _State(msgspec.Struct):
    format: int
    position: int
    now: dt.datetime
    config: dict[str, Any]
    overrides: dict[str, Priority]
    configured: bool
    prices: dict[str, Any]
    root: _Account
    reserve: _Account
    accounts: list[_Account]
    holds: list[_Hold]
    spent: Money
    held: Money
    opening: Money
    budget: Triple
    period_ends: dt.datetime | None
    response: int
    paused: str | None
    reserve_open: bool
    unpriced: list[str]
    outbox: list[Notice]
    pool_exhausted_at: int
    ids: list[str]
    id_positions: list[int]
    id_marks: list[tuple[dt.datetime, int]]
    next_mark: dt.datetime
    ended: list[tuple[str, str, str, str | None]]
    ended_order: list[tuple[int, str]]
    released: list[_Closed]
    released_order: list[tuple[int, str]]
    history: list[Any]
    tasks: PackedTasks
    estimates: list[Any]
    day: list[Any]
    promises: list[Any]
    slot_times: list[Any]
    done: dict[str, tuple[int, int]]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_State)


def fingerprint(snapshot: bytes) -> str:
    """The SHA-256 of a snapshot, as the log records it."""
    return hashlib.sha256(snapshot).hexdigest()


def dump(ledger: Ledger) -> bytes:
    """The state as JSON. The order of open accounts is that of their opening, so equal histories give equal bytes."""
    rules = ledger.rules
    return _encoder.encode(
        _State(
            format=FORMAT,
            position=ledger.position,
            now=ledger.now,
            config=to_mapping(rules.loaded),
            overrides=dict(rules.overrides),
            configured=ledger.configured,
            prices=prices_to_mapping(rules.prices),
            root=_packed(ledger.root),
            reserve=_packed(ledger.reserve),
            accounts=[_packed(account) for account in ledger.accounts.values()],
            holds=[
                _Hold(hold.id, hold.account.id, hold.amount, hold.ttl_ms, hold.expires_at, hold.lease)
                for hold in ledger.holds.values()
            ],
            spent=_triple(ledger.spent),
            held=_triple(ledger.held),
            opening=ledger.opening,
            budget=ledger.budget,
            period_ends=ledger.period_ends,
            response=ledger.response,
            paused=ledger.paused,
            reserve_open=ledger.reserve_open,
            unpriced=list(ledger.unpriced),
            outbox=list(ledger.outbox.values()),
            pool_exhausted_at=ledger.pool_exhausted_at,
            ids=list(ledger.ids),
            id_positions=list(ledger.ids.values()),
            id_marks=list(ledger.id_marks),
            next_mark=ledger.next_mark,
            ended=[(hold, *ended) for hold, ended in ledger.ended_holds.items()],
            ended_order=list(ledger.ended_order),
            released=[
                _Closed(c.id, c.parent, c.priority, c.allocated.triple, c.consumed.triple, c.position, c.under)
                for c in ledger.released.values()
            ],
            released_order=list(ledger.released_order),
            history=ledger.history.dump(),
            tasks=pack(ledger.tasks),
            estimates=ledger.estimates.dump(),
            day=ledger.day.dump(),
            promises=ledger.commitments.dump(),
            slot_times=ledger.slot_times.dump(),
            done=ledger.done,
        )
    )


def load(snapshot: bytes) -> Ledger | None:
    """The state that a snapshot holds; None where it is of another format or damaged."""
    try:
        state = _decoder.decode(snapshot)
    except msgspec.DecodeError:
        return None
    if state.format != FORMAT:
        return None
    ledger = Ledger()
    ledger.rules = Rules(restore(state.config), prices_from_mapping(**state.prices), state.overrides)
    ledger.configured = state.configured
    ledger.position, ledger.now = state.position, state.now
    _unpack(ledger.root, state.root)
    _unpack(ledger.reserve, state.reserve)
    for packed in state.accounts:
        _open(ledger, packed)
    ledger.names = sorted(ledger.accounts)
    ledger.spent, ledger.held, ledger.opening = list(state.spent), list(state.held), state.opening
    ledger.budget, ledger.period_ends = state.budget, state.period_ends
    ledger.response, ledger.paused = state.response, state.paused
    ledger.reserve_open, ledger.pool_exhausted_at = state.reserve_open, state.pool_exhausted_at
    ledger.unpriced = dict.fromkeys(state.unpriced)
    ledger.outbox = {notice.alert: notice for notice in state.outbox}
    ledger.ids = dict(zip(state.ids, state.id_positions, strict=True))
    ledger.id_order, ledger.id_marks = deque(state.ids), deque(state.id_marks)
    ledger.next_mark = state.next_mark
    ledger.ended_holds = {hold: (agent, how, lease) for hold, agent, how, lease in state.ended}
    ledger.ended_order = deque(state.ended_order)
    ledger.released = {
        c.id: Closed(c.id, c.parent, c.priority, Amounts(*c.allocated), Amounts(*c.consumed), c.position, c.under)
        for c in state.released
    }
    ledger.released_order = deque(state.released_order)
    ledger.history = History.load(state.history)
    ledger.tasks = unpack(state.tasks)
    ledger.estimates = Estimates.load(state.estimates)
    ledger.day = Day.load(state.day)
    _promise(ledger, state.promises)
    for held in state.holds:
        _hold(ledger, held)
    ledger.slot_times = SlotTimes.load(state.slot_times)
    ledger.done = state.done
    ledger.press()
    return ledger


class _Format(msgspec.Struct):
    format: int


def is_foreign(snapshot: bytes) -> bool:
    """Whether a snapshot is of another format than the one that is written now."""
    try:
        return msgspec.json.decode(snapshot, type=_Format).format != FORMAT
    except msgspec.DecodeError:
        return False


def _packed(account: Account) -> _Account:
    return _Account(
        account.id,
        None if account.parent is None else account.parent.id,
        account.allocated,
        account.opened_at,
        account.priority,
        account.agent_type,
        account.product,
        account.workflow,
        _triple(account.free),
        account.held,
        _triple(account.spent),
        account.delegated,
        account.closed,
        account.borrowed,
        account.drawn,
        account.given_back,
        account.cover,
        account.level,
        None if account.throttle is None else str(account.throttle),
        account.stopped,
        account.warned,
        account.warning,
        account.pool_notice,
        account.activity_at,
        account.last_report_at,
        account.pace_ms,
        account.model,
        account.reclaimed,
        account.growth,
        account.forecasts,
    )


def _open(ledger: Ledger, packed: _Account) -> None:
    parent = ledger.root if packed.parent == ROOT else ledger.accounts[packed.parent or ""]
    account = Account(
        packed.id,
        parent,
        packed.allocated,
        packed.opened_at,
        packed.priority,
        packed.agent_type,
        packed.product,
        packed.workflow,
    )
    _unpack(account, packed)
    ledger.accounts[account.id] = account
    if parent is not ledger.root:
        if parent.children is None:
            parent.children = {}
        parent.children[account.id] = account


def _unpack(account: Account, packed: _Account) -> None:
    account.allocated, account.cover, account.held = packed.allocated, packed.cover, packed.held
    account.free, account.spent = list(packed.free), list(packed.spent)
    account.delegated, account.closed = packed.delegated, packed.closed
    account.borrowed, account.drawn, account.given_back = packed.borrowed, packed.drawn, packed.given_back
    account.level, account.stopped = packed.level, packed.stopped
    account.throttle = None if packed.throttle is None else Decimal(packed.throttle)
    account.warned, account.warning, account.pool_notice = packed.warned, packed.warning, packed.pool_notice
    account.activity_at, account.last_report_at = packed.activity_at, packed.last_report_at
    account.pace_ms, account.model, account.reclaimed = packed.pace_ms, packed.model, packed.reclaimed
    # Those who have not reported yet share one text of no steps.
    account.growth = NO_STEPS if packed.growth == NO_STEPS else packed.growth
    account.forecasts = packed.forecasts


def _hold(ledger: Ledger, packed: _Hold) -> None:
    account = ledger.accounts[packed.agent]
    hold = Hold(packed.id, account, packed.amount, packed.ttl_ms, packed.expires_at, packed.lease)
    add_hold(ledger, hold)
    hold_for(ledger, hold, 1)


def _promise(ledger: Ledger, spent: list[Any]) -> None:
    """What runs may still use, and which accounts they are: each was opened after those above it."""
    for account in ledger.accounts.values():
        assert account.parent is not None
        account.run = account.id if account.id in ledger.tasks.running else account.parent.run
    for name, tokens in spent:
        task = ledger.tasks.running[name]
        ledger.commitments.start(name, task.product, task.model or "", task.token_budget)
        ledger.commitments.spend(name, tokens)


def _triple(values: list[int]) -> Money:
    return (values[0], values[1], values[2])
