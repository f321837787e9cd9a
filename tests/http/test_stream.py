"""The log comes as server-sent events: each record once, in order, from any position on; no listener holds it up."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from tallystick.actors.runtime.log_feed import LogFeed
from tallystick.events.log.store import Record, open_store
from tallystick.http.events import LogReader
from tallystick.http.feed import KEPT_BYTES, WAKES_PER_SECOND, Chunk, Feed
from tallystick.http.measures import Measures
from tallystick.http.stream import Pace, Streams
from tests.support.serving import Client, Listener, Served

SECONDS = 120


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("served"))
    client = server.client()
    client.post("/v1/allocate-budget", {"agent": "a", "budget": {"tokens": 1_000_000}})
    client.close()
    yield server
    assert server.stop() == 0


def use(client: Client, count: int = 1) -> None:
    body = [{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}} for _ in range(count)]
    assert client.post("/v1/messages", body).status == 200


def newest(client: Client) -> int:
    position: int = client.call("GET", "/v1/events?limit=1").json["position"]
    return position


def page(client: Client, after: int) -> list[Any]:
    events: list[Any] = client.call("GET", f"/v1/events?after={after}&limit=1000").json["events"]
    return events


def test_a_stream_gives_the_whole_log_and_what_comes_as_it_is_stored(client: Client, served: Served) -> None:
    listener = Listener(served.port, "?after=0")
    assert (listener.status, listener.response.getheader("content-type")) == (200, "text/event-stream; charset=utf-8")
    known = newest(client)
    assert [event.id for event in listener.take(known)] == [str(number) for number in range(1, known + 1)]
    use(client, 300)
    events = [json.loads(event.data or "") for event in listener.take(300)]
    assert events == page(client, known)[:300]
    listener.close()


def test_without_a_position_a_stream_begins_with_what_comes_next(client: Client, served: Served) -> None:
    known = newest(client)
    listener = Listener(served.port)
    begin = listener.block()
    assert begin is not None
    assert (begin.id, begin.data) == (str(known), None)
    use(client)
    assert listener.take(1)[0].id == str(known + 1)
    listener.close()


def test_a_listener_that_comes_back_goes_on_behind_the_last_event_that_it_has(client: Client, served: Served) -> None:
    known = newest(client)
    use(client, 5)
    listener = Listener(served.port, "?after=0", Last_Event_ID=str(known + 2))
    assert [event.id for event in listener.take(3)] == [str(known + 3), str(known + 4), str(known + 5)]
    listener.close()


def test_a_record_is_one_line_however_its_message_was_written(client: Client, served: Served) -> None:
    listener = Listener(served.port)
    body = {
        "agent": "a",
        "usage": {"tokens": 1},
        "provider_usage": {"input_tokens": 3, "output_tokens": 4},
        "model": "anthropic/claude-sonnet-4-5",
    }
    del body["usage"]
    answer = client.post("/v1/report-usage", json.dumps(body, indent=4).encode())
    assert answer.status == 200, answer.json
    event = listener.take(1)[0]
    assert json.loads(event.data or "")["command"]["provider_usage"] == {"input_tokens": 3, "output_tokens": 4}
    listener.close()


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        ("?after=x", {}, 422, "invalid_parameter"),
        ("?limit=1", {}, 422, "invalid_parameter"),
        ("?after=1", {"Last_Event_ID": "x"}, 422, "invalid_parameter"),
        ("?after=1000000", {}, 404, "unknown_position"),
        ("", {"Last_Event_ID": "1000000"}, 404, "unknown_position"),
    ],
)
def test_a_position_that_is_none_is_refused(
    served: Served, query: str, headers: dict[str, str], status: int, code: str
) -> None:
    listener = Listener(served.port, query, **headers)
    assert (listener.status, json.loads(listener.response.read())["code"]) == (status, code)
    listener.close()


def test_streams_are_counted_and_end_when_the_server_is_stopped(tmp_path: Path) -> None:
    server = Served(tmp_path)
    client = server.client()
    listeners = [Listener(server.port) for _ in range(3)]
    assert b"tallystick_http_streams 3\n" in client.call("GET", "/metrics").body
    assert client.call("HEAD", "/v1/stream").status == 200
    client.close()
    assert server.stop() == 0
    for listener in listeners:
        assert listener.response.read().endswith(b"\n\n")
        listener.close()


def test_a_place_becomes_free_when_its_listener_goes_away(served: Served, client: Client) -> None:
    listener = Listener(served.port)
    listener.block()
    listener.close()
    while b"tallystick_http_streams 0\n" not in client.call("GET", "/metrics").body:
        use(client)


# --- within one process: what is sent, and when ----------------------------------------------------------------------


class Log:
    """A log in memory to which a test commits."""

    def __init__(self) -> None:
        self.store = open_store("memory:", writer=True)
        self.feed = LogFeed(self.store)
        self.position = 0

    def commit(self, count: int, size: int = 10) -> None:
        records = [Record(self.position + n, "one.v1", b'"%b"' % (b"x" * size)) for n in range(1, count + 1)]
        self.store.append(records)
        self.position += count
        self.feed.publish(records)


class Browser:
    """The other end of a stream: what was sent to it, and a hand on the tap."""

    def __init__(self, streams: Streams, after: int = 0) -> None:
        self._streams, self._after = streams, after
        self.sent: list[bytes] = []
        self.status = 0
        self.reads = asyncio.Event()
        self.reads.set()
        self.went = asyncio.Event()
        self._changed = asyncio.Condition()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/stream",
            "query_string": b"after=%d" % self._after,
            "headers": [],
        }
        response = await self._streams.stream(Request(scope))
        await response(scope, self._receive, self._send)

    async def _receive(self) -> Any:
        await self.went.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        async with self._changed:
            self.sent.append(message.get("body", b""))
            self._changed.notify_all()
        await self.reads.wait()

    @property
    def text(self) -> bytes:
        return b"".join(self.sent)

    @property
    def ids(self) -> list[int]:
        return [int(line[4:]) for line in self.text.splitlines() if line.startswith(b"id: ")]

    async def until(self, last: int) -> None:
        async with asyncio.timeout(SECONDS), self._changed:
            await self._changed.wait_for(lambda: bool(self.ids) and self.ids[-1] == last)

    async def until_sent(self, text: bytes) -> None:
        async with asyncio.timeout(SECONDS), self._changed:
            await self._changed.wait_for(lambda: text in self.text)

    async def close(self) -> None:
        self.reads.set()
        self.went.set()
        await self.task


def streams_of(log: Log, **bounds: Any) -> Streams:
    return Streams(LogReader(log.feed), asyncio.Event(), Measures(), **bounds)


def test_one_stream_too_many_is_429_until_another_ends() -> None:
    async def run() -> None:
        log = Log()
        log.commit(1)
        streams = streams_of(log, streams_max=1)
        first = Browser(streams)
        await first.until(1)
        second = Browser(streams)
        await second.task
        assert second.status == 429
        assert b'"too_many_streams"' in second.text
        await first.close()
        third = Browser(streams)
        await third.until(1)
        await third.close()

    asyncio.run(run())


def test_all_streams_together_send_no_more_than_their_pace_and_what_is_read_from_the_store_counts_more() -> None:
    pace = Pace(lambda: 7.0, bytes_per_second=1_000)
    chunk = Chunk(1, 2, b"x" * 500)
    waits = [pace.wait_for(one) for one in (chunk, chunk, chunk, chunk._replace(was_read=True), chunk)]
    # A second's worth goes out at once.
    assert waits == [0, 0, 0.5, 2.5, 3.0]


def test_many_listeners_are_woken_less_often_and_few_at_once() -> None:
    async def run() -> None:
        log = Log()
        feed = Feed(LogReader(log.feed))
        wakes = 0

        def wake() -> None:
            nonlocal wakes
            wakes += 1

        others = [lambda n=n: None for n in range(399)]  # type: ignore[misc]
        for one in (wake, *others):
            feed.add(one)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while wakes < 3:
            log.commit(1)
            await asyncio.sleep(0)
        assert loop.time() - began >= 2 * 400 / WAKES_PER_SECOND
        for one in (wake, *others):
            feed.remove(one)

    asyncio.run(run())


def test_where_nothing_happens_a_comment_keeps_the_connection_open() -> None:
    async def run() -> None:
        log = Log()
        log.commit(1)
        browser = Browser(streams_of(log, heartbeat_seconds=0.001))
        await browser.until_sent(b":\n\n:\n\n")
        log.commit(1)
        await browser.until(2)
        await browser.close()

    asyncio.run(run())


def test_a_listener_that_does_not_read_delays_no_other_and_misses_nothing() -> None:
    async def run() -> None:
        log = Log()
        log.commit(1)
        streams = streams_of(log)
        slow, fast = Browser(streams), Browser(streams)
        await asyncio.gather(slow.until(1), fast.until(1))
        slow.reads.clear()
        sent = 0
        size = 100_000
        # More than is kept: what the slow one misses is read from the log.
        while log.position * size < 3 * KEPT_BYTES:
            log.commit(10, size)
            await fast.until(log.position)
            sent = sent or len(slow.sent)
        assert len(slow.sent) <= sent + 1
        assert streams.feed.kept_bytes <= KEPT_BYTES
        slow.reads.set()
        await slow.until(log.position)
        for browser in (slow, fast):
            assert browser.ids == list(range(log.position + 1))
            await browser.close()
        assert streams.feed.kept_bytes == 0

    asyncio.run(run())


def test_what_was_committed_while_no_one_listened_is_given_to_who_comes_right_after_another_has_left() -> None:
    async def run() -> None:
        log = Log()
        feed, woken = Feed(LogReader(log.feed)), asyncio.Event()
        feed.add(print)
        log.commit(1)  # it waits for the event loop
        feed.remove(print)
        log.commit(1)
        feed.add(woken.set)
        await woken.wait()
        feed.reached(log.feed.newest())
        chunk = await feed.after(1)
        assert chunk is not None
        assert (chunk.first, chunk.last) == (2, 2)
        feed.remove(woken.set)

    asyncio.run(run())


def test_commits_from_another_thread_reach_listeners_who_join_at_any_time_without_gap_or_repetition() -> None:
    async def run() -> None:
        log = Log()
        log.commit(3)
        streams = streams_of(log)
        writer = threading.Thread(target=lambda: [log.commit(1 + n % 7) for n in range(700)])
        writer.start()
        browsers = []
        while writer.is_alive():
            browsers.append(Browser(streams, after=len(browsers) % 4))
            await asyncio.sleep(0)
            if len(browsers) == 40:
                await asyncio.to_thread(writer.join)
        for number, browser in enumerate(browsers):
            await browser.until(log.position)
            await browser.close()
            begin = number % 4
            assert browser.ids == [begin, *range(begin + 1, log.position + 1)]

    asyncio.run(run())
