"""How a fleet takes up its work: the newest snapshot that the log vouches for, and the tail behind it."""

import datetime as dt
import gc
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import structlog

from tallystick.config.loader import changed, named, to_mapping
from tallystick.config.prices import PriceList, load_prices
from tallystick.config.prices import to_mapping as prices_to_mapping
from tallystick.config.published import published_prices
from tallystick.config.settings import Config, Model
from tallystick.events import messages as c
from tallystick.events.catalog import SnapshotRecorded, rules_version
from tallystick.events.decide.operate import content_hash
from tallystick.events.log import snapshot
from tallystick.events.log.audit import Replay
from tallystick.events.log.codec import GENESIS, decode_event, digest_of
from tallystick.events.log.store import SNAPSHOTS_KEPT, Record, Store
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger

log = structlog.wrap_logger(logging.getLogger("tallystick.config"))

_OUTAGE = dt.timedelta(minutes=1)
"""A fleet that was closed for less than this is not said to have been away, unless tasks were running."""
_SEARCHED = 1_000
"""How far behind a snapshot its hash is looked for: it is written with the next batch."""


class RefusedConfig(ValueError):
    """The configuration cannot be put in force on this fleet; the text says why."""


class Opened(NamedTuple):
    """The state as of the newest record, and that record's digest."""

    ledger: Ledger
    digest: bytes


def open_ledger(store: Store) -> Opened:
    """The state that a store's log adds up to.

    Raises:
        BrokenChain: the records behind the snapshot do not follow one another.
        StoreError: the store could not be read.
    """
    with _no_collecting():
        ledger, digest = _from_snapshot(store)
        return Opened(ledger, replay(ledger, digest, store.read(ledger.position)))


@contextmanager
def _no_collecting() -> Iterator[None]:
    """A state that is being built holds no garbage, and looking for some takes longer than to build it.

    What was built is left out of later searches too (until `Fleet.close` lets them see it again).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def replay(ledger: Ledger, digest: bytes, records: Iterable[Record]) -> bytes:
    """Apply records to a state, each proved to follow the one before; the digest of the last.

    Raises:
        BrokenChain: a record is missing, moved or changed.
    """
    proof = Replay(ledger, digest)
    for record in records:
        proof.apply(proof.prove(record))
    return proof.digest


def to_put_in_force(
    ledger: Ledger, config: Config | None, prices: PriceList | None, now: dt.datetime
) -> Iterator[c.Command]:
    """What must be recorded so that this configuration and these prices are in force: they are facts.

    Prices that were written are put over those that are published, of the day of ``now``. What is in force already is
    not recorded again; a new fleet gets what is packaged where nothing is given. In one that has begun, what a file
    does not name stays as it is in force: an omission lifts nothing. A log that was decided by an older version of the
    rules goes on by ours. The caller carries each command out before it takes the next: the position makes an id new
    when a configuration comes back that was in force before. Live and simulated fleets use this, so that the same
    messages give the same log.
    """
    if ledger.position and ledger.rules_version < rules_version.RULES_VERSION:
        rules = rules_version.RULES_VERSION
        yield p.AdoptRules(rules=rules, id=c.internal_id(f"rules-{rules}-{ledger.position}"))
    for name in list(ledger.given_up):
        yield p.RecordRestored(specialist=name, id=c.internal_id(f"restored-{name}-{ledger.position}"))
    if ledger.tasks.running or ledger.leases or (ledger.accounts and now - ledger.now > _OUTAGE):
        yield p.OpenFleet(id=c.internal_id(f"opening-{ledger.position}"))
    if not ledger.configured:
        prices = prices or load_prices(None)
        yield load_config(to_mapping(config or Config()), ledger.position)
    elif config is not None and changed(ledger.rules.loaded, named(config)) != ledger.rules.loaded:
        yield load_config(named(config), ledger.position)
    if prices is not None and not prices.published.providers:
        prices = PriceList(prices.written, published_prices(now.astimezone(dt.UTC).date(), _catalogue(ledger, config)))
    if prices is not None and prices != ledger.rules.prices:
        mapping = prices_to_mapping(prices)
        yield p.LoadPrices(**mapping, id=c.internal_id(f"prices-{content_hash(mapping)[:16]}-{ledger.position}"))


def load_config(mapping: dict[str, Any], position: int) -> c.LoadConfig:
    """The fleet's own command that puts a configuration, or a part of one, in force at a position."""
    return c.LoadConfig(config=mapping, id=c.internal_id(f"config-{content_hash(mapping)[:16]}-{position}"))


def logged(answer: Any) -> Any:
    """The answer to a ``LoadConfig``, once what it warns of (``code``, ``key``, ``message``) is in the program log."""
    for warning in answer.get("ok", {}).get("warnings", ()):
        log.warning("config_warning", **warning)
    return answer


def accept(answer: Any) -> None:
    """Take the answer to a command that `to_put_in_force` names.

    Raises:
        RefusedConfig: it was refused.
    """
    if "error" in logged(answer):
        raise RefusedConfig(answer["error"]["detail"])


def _catalogue(ledger: Ledger, config: Config | None) -> Iterable[Model]:
    return (config or ledger.rules.config).models.values()


def _from_snapshot(store: Store) -> Opened:
    """The newest snapshot whose hash is in the log, else the beginning."""
    # Each may be large, and the newest will nearly always do: an older one is fetched only where it does not.
    for place in range(SNAPSHOTS_KEPT):
        found = store.snapshots(place + 1)
        if len(found) <= place:
            break
        position, data = found[place]
        record = store.record(position)
        if record is not None and _is_vouched_for(store, position, snapshot.fingerprint(data)):
            ledger = snapshot.load(data)
            if ledger is not None and ledger.position == position:
                return Opened(ledger, digest_of(record.data))
    return Opened(Ledger(), GENESIS)


def _is_vouched_for(store: Store, position: int, sha256: str) -> bool:
    for record in store.read(position, position + _SEARCHED):
        if record.name == "snapshot-recorded.v1":
            event = decode_event(record.data, record.name)
            if isinstance(event, SnapshotRecorded) and event.upto == position:
                return event.sha256 == sha256
    return False
