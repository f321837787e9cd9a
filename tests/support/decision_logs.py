"""Records the logs of `tests/logs/decisions/` anew, as the rules are now: ``make logs``.

Each log is what a simulated fleet records of fixed messages. Recorded again by the same rules it is the same, to the
byte.
"""

import datetime as dt
import gzip
import json
import logging
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.config.amounts import Budget
from tallystick.config.loader import from_mapping
from tallystick.config.price_list import PriceList, Provider, Published
from tallystick.config.published import published_prices
from tallystick.events import messages as c
from tallystick.events.catalog import rules_version
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import decode_command, digest_of, encode_command, read_message
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import Record, open_store
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.messages.replies import Refusal
from tallystick.whatif.steps import steps_of
from tests.support import limit_day
from tests.support.busy_day import CONFIG, busy_day
from tests.support.core import START
from tests.support.corrections import corrected_messages
from tests.support.delegations import World
from tests.support.driving import Timed
from tests.support.task_day import DAY, SCARCE, day_of

HERE = Path(__file__).parents[1] / "logs"
DECISIONS = HERE / "decisions"
HEADS = DECISIONS / "heads.json"
_OLD = ("one-of-each", "timers")
"""Logs of an older version: the same is asked again."""
_PROVIDERS = ("anthropic", "openai")


_OVERDRAFTS: list[Timed] = [
    (START + dt.timedelta(seconds=number), msgspec.structs.replace(command, id=f"o-{number}"))
    for number, command in enumerate(
        [
            c.AllocateBudget(agent="ann", budget=Budget(tokens=100), overdraft_max=Budget(tokens=20)),
            c.AllocateBudget(agent="kid", budget=Budget(tokens=10), parent="ann"),
            c.Reserve(agent="ann", estimate=Budget(tokens=10)),
            c.ReportUsage(agent="ann", usage=Budget(tokens=121)),
            c.ReportUsage(agent="ann", usage=Budget(tokens=30)),
            c.ReportUsage(agent="kid", usage=Budget(tokens=12)),
            c.Reserve(agent="ann", estimate=Budget(tokens=1)),
            c.Settle(hold="o-2", usage=Budget(tokens=11)),
            c.BorrowFromPool(agent="ann", amount=Budget(tokens=50)),
            c.CheckEnforcement(agent="ann"),
        ]
    )
]
"""An account that goes beyond its bound, reports, settles, and gets more."""


class Kept(NamedTuple):
    """What `heads.json` says: by which rules the logs were decided, and the head of each."""

    rules: int
    heads: Mapping[str, str]


def kept() -> Kept:
    """The heads that are there."""
    found = json.loads(HEADS.read_text(encoding="utf-8"))
    return Kept(found["rules"], found["heads"])


def records_of(name: str) -> list[Record]:
    """A log of `decisions/`."""
    lines = gzip.decompress((DECISIONS / f"{name}.jsonl.gz").read_bytes()).splitlines()
    return [Record(n, json.loads(line)["type"], line) for n, line in enumerate(lines, start=1)]


def head_of(records: Sequence[Record]) -> str:
    """``POSITION:DIGEST`` of the newest record."""
    return f"{records[-1].position}:{digest_of(records[-1].data).hex()}"


def recorded() -> Iterator[tuple[str, list[Record]]]:
    """Every log, as it is decided now."""
    yield "busy-day", _simulated(busy_day(0), CONFIG, START + dt.timedelta(hours=13))
    day = day_of(20, 2, deaths=0.15, hours=1, **SCARCE)
    yield "tasks", _simulated(day.messages, {**DAY, **SCARCE}, day.until)
    yield "corrections", _simulated(corrected_messages(), CONFIG, START + dt.timedelta(hours=50))
    yield "limits", limited()
    for name in _OLD:
        yield name, _asked_again(name)
    yield "older", _gone_on_with("alerts")
    yield from delegated()
    yield "overdrafts", _simulated(_OVERDRAFTS, {"total_budget": {"tokens": 1_000}}, START + dt.timedelta(minutes=9))


def limited() -> list[Record]:
    """A day under limits, leases, last calls and learned estimates."""
    return _simulated(limit_day.limit_day(0), limit_day.CONFIG, START + dt.timedelta(hours=20))


def delegated() -> Iterator[tuple[str, list[Record]]]:
    """A parent and one of its children, over a bad network, until the child closes."""
    world = World(random.Random(7), 2)
    for _ in range(300):
        world.step()
    world.heal()
    world.close(0)
    yield "parent", list(world.top.store.read())
    yield "child", list(world.nodes[0].store.read())


def _simulated(messages: Sequence[Timed], config: Mapping[str, Any], until: dt.datetime) -> list[Record]:
    """What a fleet records that has a short price list: the whole one is most of a small log."""
    published = published_prices(START.date())
    few = {name: _few(published.providers[name]) for name in _PROVIDERS}
    prices = PriceList({}, Published(published.source, few))
    store = MemoryStore()
    fleet = SimulatedFleet.open(store, from_mapping(config), prices, START)
    for at, message in messages:
        read = read_message(message, lambda: "unnamed")
        if not isinstance(read, Refusal):
            fleet.ask(Envelope([read[0]], [read[1]], "local", None), at)
    fleet.pass_time(until)
    return list(store.read())


def _few(provider: Provider) -> Provider:
    """A few models of a provider."""
    return Provider(provider.names, {name: provider.models[name] for name in sorted(provider.models)[:6]})


def _asked_again(name: str) -> list[Record]:
    """The messages of an old log, asked again at their moments."""
    messages = list(_messages(_old(name)))
    first = messages[0][1]
    assert isinstance(first, c.LoadConfig)
    return _simulated(messages, first.config, messages[-1][0] + dt.timedelta(minutes=5))


def _gone_on_with(name: str) -> list[Record]:
    """An old log, and what is recorded when it is opened now."""
    store = MemoryStore()
    store.append(_old(name))
    end = open_ledger(store).ledger.now + dt.timedelta(minutes=1)
    fleet = SimulatedFleet.open(store, None, None, end)
    command = c.AllocateBudget(agent="a-new-one", budget=Budget(tokens=5), id="a-new-one")
    fleet.ask(Envelope([command], [encode_command(command)], "local", None), end)
    return list(store.read())


def _old(name: str) -> list[Record]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "old.db"
        file.write_bytes(gzip.decompress((HERE / "data" / f"{name}.sqlite.gz").read_bytes()))
        store = open_store(f"sqlite:///{file}")
        records = list(store.read())
        store.close()
    return records


def _messages(records: Sequence[Record]) -> Iterator[Timed]:
    for step in steps_of(records):
        if not step.own:
            continue
        try:
            command = decode_command(step.request)
        except (msgspec.MsgspecError, BrokenChain):
            continue
        if isinstance(command, c.WIRE):
            own = command.id is not None and command.id.startswith(c.INTERNAL_ID)
            yield step.at, msgspec.structs.replace(command, id=f"own-{step.position}") if own else command


def record() -> None:
    """Write all logs and their heads."""
    heads = {}
    for name, records in recorded():
        data = b"".join(record.data + b"\n" for record in records)
        (DECISIONS / f"{name}.jsonl.gz").write_bytes(gzip.compress(data, mtime=0))
        heads[name] = head_of(records)
    text = json.dumps({"rules": rules_version.RULES_VERSION, "heads": heads}, indent=2)
    HEADS.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    logging.disable()
    record()
