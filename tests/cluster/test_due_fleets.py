"""What a fleet has to do by itself is done in its time, also where its shard had closed it, or has failed meanwhile."""

import asyncio
import datetime as dt
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from tallystick.cluster.due import DueTimes
from tallystick.cluster.fleets import Database
from tallystick.cluster.waking import SOON
from tallystick.events.log.store import open_store
from tests.support import postgres
from tests.support.local_cluster import OPEN, LocalCluster, beneath, create, play
from tests.support.pages import PROJECT
from tests.support.programs import until

HOUR = dt.timedelta(hours=1)
HOLDER = """
import asyncio, sys
from tests.cluster.test_due_fleets import held
from tests.support.local_cluster import LocalCluster

async def main():
    cluster = LocalCluster(sys.argv[1], 1)
    await held(cluster, sys.argv[2], 3_600)
    print("held", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
"""A process with a shard, and a fleet in it that has a hold."""


@pytest.fixture
def url() -> str:
    server, name = postgres.shared(), f"due-{secrets.token_hex(4)}"
    server.new_database(name)
    return server.url(name).partition("&fleet")[0]


class Hands:
    """A clock that is ahead of the machine's, or behind."""

    def __init__(self) -> None:
        self.ahead = -HOUR

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + self.ahead


async def held(cluster: LocalCluster, name: str, ttl_seconds: int) -> None:
    """Let an agent of a fleet hold some of its budget for a while."""
    hold = {"type": "Reserve", "agent": "a-1", "estimate": {"tokens": 9}, "id": "hold", "ttl_seconds": ttl_seconds}
    for message in (OPEN, hold):
        assert (await cluster.ask("POST", f"{beneath(name)}/messages", message)).status == 200


def hold_is_over(url: str, name: str) -> bool:
    store = open_store(Database(url).url_of(name))
    try:
        return any(record.name in ("hold-spent.v1", "hold-ended.v1") for record in store.read())
    finally:
        store.close()


def test_a_fleet_is_closed_when_idle_unless_it_has_something_to_do_soon_and_opened_shortly_before(url: str) -> None:
    create(url, "a", "--without-key")
    hands = Hands()

    async def story(cluster: LocalCluster) -> None:
        shard = cluster.calls[0].shard
        await held(cluster, "a", 600)
        hands.ahead = dt.timedelta(seconds=570)
        hosted = shard._open["a"].result()
        await asyncio.to_thread(until, lambda: hosted.is_due(hands.now() + SOON))
        shard._idle_seconds = -1.0  # only now, because the shard looks by itself, too
        shard._look()
        assert shard.open_fleets() == ["a"], "the hold ends within half a minute"
        hands.ahead = -HOUR
        shard._look()
        assert shard.open_fleets() == []
        await asyncio.gather(*shard._closing.values())
        await shard.waking.look()
        assert shard.open_fleets() == [], "the hold ends in more than an hour"
        hands.ahead = dt.timedelta(seconds=590)
        await shard.waking.look()
        await asyncio.to_thread(until, lambda: shard.open_fleets() == ["a"])

    play(url, story, count=1, now=hands.now)


def test_a_shard_that_is_started_again_does_in_time_what_is_due(url: str) -> None:
    create(url, "a", "--without-key")

    async def before(cluster: LocalCluster) -> None:
        await held(cluster, "a", 3)

    async def after(cluster: LocalCluster) -> None:
        await asyncio.to_thread(until, lambda: hold_is_over(url, "a"))

    play(url, before, count=1)
    play(url, after, count=1)


def test_a_fleet_that_was_open_where_a_process_was_killed_is_opened_again_and_no_other(url: str) -> None:
    for name in ("open", "other"):
        create(url, name, "--without-key")
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, "open"], cwd=PROJECT, env={**os.environ}, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process:
        assert b"held\n" in process.stdout, "its log comes first"
        process.send_signal(signal.SIGKILL)
    # Its lease would end within five seconds by itself.
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE tallystick_writers SET until = clock_timestamp() WHERE fleet = 'open'")

    async def story(cluster: LocalCluster) -> None:
        shard = cluster.calls[0].shard
        await asyncio.to_thread(until, lambda: bool(shard.open_fleets()))
        assert shard.open_fleets() == ["open"]

    play(url, story, count=1)


def test_a_fleet_that_cannot_be_opened_keeps_no_other_from_it_and_is_tried_again_later(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallystick.cluster.shard.WOKEN_SECONDS", 600.0)  # by the machine's clock, which may be slow
    for name in ("broken", "whole"):
        create(url, name, "--without-key")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE tallystick_events SET state = '{}' WHERE originator_id = 'broken'")
        connection.execute("DELETE FROM tallystick_snapshots")
    hands = Hands()

    async def story(cluster: LocalCluster) -> None:
        shard = cluster.calls[0].shard
        hands.ahead = 25 * HOUR
        for _ in range(2):
            await shard.waking.look()
            # The shard looks by itself, too, and may be opening it.
            await asyncio.to_thread(until, lambda: shard.open_fleets() == ["whole"])
            assert set(shard.waking.not_before) == {"broken"}

    play(url, story, count=1, now=hands.now)


@pytest.fixture
def due(url: str) -> Iterator[DueTimes]:
    times = DueTimes(Database(url).place)
    yield times
    times.close()


def test_a_writer_that_was_replaced_says_nothing_of_when_a_fleet_is_due(url: str, due: DueTimes) -> None:
    create(url, "a", "--without-key")
    now = dt.datetime.now(dt.UTC)
    with psycopg.connect(url, autocommit=True) as connection:
        (epoch,) = connection.execute("SELECT epoch FROM tallystick_writers").fetchone() or (0,)
    due.closed("a", epoch, now + HOUR)
    due.closed("a", epoch - 1, now - HOUR)
    assert due.due(now) == []
    assert due.due(now + HOUR) == ["a"]
    due.closed("a", epoch, None)
    assert due.due(now + 2 * HOUR) == []


def test_a_fleet_that_was_only_created_is_known_by_its_days_end(url: str, due: DueTimes) -> None:
    create(url, "a", "--without-key")
    assert due.due(dt.datetime.now(dt.UTC) + 25 * HOUR) == ["a"]
