"""Benchmarks over long logs and large fleets: replay, restart, growth, status, memory."""

import datetime as dt
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import reduce
from operator import or_
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import msgspec

from benchmarks.load import RICH, Load
from benchmarks.result import percentile
from tallystick.actors.manager import Manager
from tallystick.actors.runtime.fleet import Fleet
from tallystick.actors.runtime.messages import Envelope
from tallystick.config.amounts import Budget
from tallystick.config.loader import from_mapping
from tallystick.events import messages as c
from tallystick.events.catalog import CATALOG
from tallystick.events.log.codec import GENESIS, encode_command
from tallystick.events.log.restoring import open_ledger, replay
from tallystick.events.log.store import open_store
from tallystick.events.log.store_segments import texts_in
from tallystick.events.state.ledger import Ledger

GROUP = 1_000
_START = dt.datetime(2026, 1, 26, tzinfo=dt.UTC)


Page = Callable[[int, int, int], list[c.Command]]
"""Makes messages: from which number on, how many, and of how many agents."""


def equal_reports(first: int, count: int, agents: int) -> list[c.Command]:
    """Reports that all say the same, by each agent in turn."""
    usage = Budget(tokens=450, time_seconds=Decimal("2.3"), cost_usd=Decimal("0.011"))
    return [
        c.ReportUsage(id=f"r-{n}", agent=f"agent-{n % agents:06d}", usage=usage) for n in range(first, first + count)
    ]


def varying_reports(first: int, count: int, agents: int) -> list[c.Command]:
    """Reports that all say something else, with ids of 36 characters, by agents in no order."""
    dice = Random(first)
    return [c.ReportUsage(id=_id(dice), agent=_agent(dice, agents), usage=_usage(dice)) for _ in range(count)]


def holds(first: int, count: int, agents: int) -> list[c.Command]:
    """Holds, and then a settlement of each, with ids and amounts as of `varying_reports`."""
    dice = Random(first)
    placed: list[c.Command] = [
        c.Reserve(id=_id(dice), agent=_agent(dice, agents), estimate=Budget(tokens=dice.randint(1_000, 5_000)))
        for _ in range(-(-count // 2))
    ]
    return placed + [c.Settle(id=_id(dice), hold=one.id or "", usage=_usage(dice)) for one in placed[: count // 2]]


def _id(dice: Random) -> str:
    return str(UUID(int=dice.getrandbits(128), version=4))


def _agent(dice: Random, agents: int) -> str:
    return f"agent-{dice.randrange(agents):06d}"


def _usage(dice: Random) -> Budget:
    return Budget(
        tokens=dice.randint(50, 5_000),
        time_seconds=Decimal(dice.randint(200, 60_000)) / 1_000,
        cost_usd=Decimal(dice.randint(100, 90_000)) / 1_000_000,
    )


def build_log(path: Path, agents: int, events: int, page: Page = equal_reports) -> None:
    """A log of ``events`` events and ``agents`` open accounts, written by the manager itself."""
    store = open_store(f"sqlite:///{path}", writer=True)
    opened = open_ledger(store)
    manager = Manager(opened.ledger, store, opened.digest)
    now = _START

    def take(commands: list[c.Command]) -> None:
        manager.take(Envelope(commands, [encode_command(command) for command in commands], "bench", None), now)
        while manager.has_work:
            manager.commit(now)

    take([c.LoadConfig(id="config", config=RICH)])
    budget = Budget(tokens=10**9)
    for start in range(0, agents, GROUP):
        opened_now = range(start, min(start + GROUP, agents))
        take([c.AllocateBudget(id=f"a-{i}", agent=f"agent-{i:06d}", budget=budget) for i in opened_now])
    n = 0
    while manager.ledger.position < events:
        now += dt.timedelta(milliseconds=100)
        count = min(GROUP, events - manager.ledger.position)
        take(page(n, count, agents))
        n += count
    store.close()


@contextmanager
def built_log(agents: int, events: int, page: Page = equal_reports) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.db"
        build_log(path, agents, events, page)
        yield path


def replay_rate(path: Path) -> float:
    """Events per second read, proved to follow one another, decoded and folded into the state."""
    store = open_store(f"sqlite:///{path}")
    ledger, began = Ledger(), time.perf_counter()
    replay(ledger, GENESIS, store.rows())
    rate = ledger.position / (time.perf_counter() - began)
    store.close()
    return rate


def raw_replay_rate(path: Path) -> float:
    """The peer: what any reader must do with these rows to have the same typed events, and a fold of one number.

    Rows by a bare cursor, phrases put back, records taken apart, each decoded into its class of the catalogue by the
    decoder that we have. It proves nothing: no digest, no position, no time. We decode a row in one call, which takes
    as long per event; a reader that does so need not take rows apart, and is about a quarter faster than this one.
    """
    decode = msgspec.json.Decoder[Any](reduce(or_, CATALOG)).decode
    tokens = events = 0
    connection = sqlite3.connect(path)
    began = time.perf_counter()
    for topic, state in connection.execute("SELECT topic, state FROM stored_events ORDER BY originator_version"):
        for text in texts_in(topic, state):
            tokens += getattr(decode(text), "tokens", 0)
            events += 1
    rate = events / (time.perf_counter() - began)
    connection.close()
    return rate


def restart_seconds(path: Path, *, with_snapshots: bool) -> float:
    """Seconds until a fleet that opens this log knows its state."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(path, folder))
        if not with_snapshots:
            with sqlite3.connect(copy) as connection:
                connection.execute("DELETE FROM snapshots")
            connection.close()
        store = open_store(f"sqlite:///{copy}")
        began = time.perf_counter()
        open_ledger(store)
        seconds = time.perf_counter() - began
        store.close()
    return seconds


def report_cost(path: Path, reports: int = 20_000) -> float:
    """Seconds of one report through the manager, decided and committed in groups of 500, on a copy of a log."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(path, folder))
        store = open_store(f"sqlite:///{copy}", writer=True)
        opened = open_ledger(store)
        manager = Manager(opened.ledger, store, opened.digest)
        names, now = opened.ledger.names, opened.ledger.now
        usage = Budget(tokens=450, time_seconds=Decimal("2.3"), cost_usd=Decimal("0.011"))
        seen = []
        for start in range(0, reports, 500):
            commands: list[c.Command] = [
                # A stride that is prime to any fleet of ours visits its agents in no particular order.
                c.ReportUsage(id=f"x-{start + k}", agent=names[(start + k) * 7919 % len(names)], usage=usage)
                for k in range(500)
            ]
            envelopes = [Envelope([command], [encode_command(command)], "bench", None) for command in commands]
            began = time.perf_counter()
            for envelope in envelopes:
                manager.take(envelope, now)
            manager.commit(now)
            seen.append((time.perf_counter() - began) / 500)
        store.close()
    return percentile(seen, 0.5)


def status_p50(path: Path) -> float:
    """Seconds of a first page of the global status, the median."""
    store = open_store(f"sqlite:///{path}", writer=True)
    opened = open_ledger(store)
    manager = Manager(opened.ledger, store, opened.digest)
    seen = []
    for i in range(200):
        query = c.GetGlobalStatus(id=f"q-{i}")
        envelope = Envelope([query], [encode_command(query)], "bench", None)
        began = time.perf_counter()
        manager.take(envelope, opened.ledger.now)
        manager.commit(opened.ledger.now)
        seen.append(time.perf_counter() - began)
    store.close()
    return percentile(seen, 0.5)


def memory_bytes(agents: int, reports: int) -> int:
    """Resident bytes of a fresh process whose live fleet has ``agents`` open and has taken ``reports``."""
    script = f"from benchmarks.history import resident; resident({agents}, {reports})"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(run.stdout)


def resident(agents: int, reports: int) -> None:
    """What `memory_bytes` runs: a live fleet with its specialists; prints its resident bytes."""
    # The memory of ids has a bound of its own (a million by default); here it is small, so that it is full at once.
    config = from_mapping({**RICH, "idempotency_ids_max": 1_000})
    with tempfile.TemporaryDirectory() as folder, Fleet.open(f"sqlite:///{folder}/fleet.db", config) as fleet:
        load = Load(fleet, agents)
        for _ in range(0, reports, 1_000):
            fleet.ask([load.report() for _ in range(1_000)])
        fleet.quiesce()
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        print(int(pages) * resource.getpagesize())
