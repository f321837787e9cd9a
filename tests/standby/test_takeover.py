"""The writer is killed, hands over, stops for a while, or loses its database, while real clients use the fleet."""

import contextlib
import http.client
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tallystick import Client
from tallystick.cli.main import main
from tallystick.http.elsewhere import BEHIND_SECONDS
from tests.support.postgres import PostgresServer, running, shared
from tests.support.programs import until
from tests.support.serving import Client as HttpClient
from tests.support.serving import Served
from tests.support.shared_fleets import SECONDS, Load, Servers, ask_until_done, hand_over, servers

TAKES_OVER_SECONDS = 10
ASKING = 40
MORE = 40
"""What must be acknowledged between two events."""


def new_fleet(server: PostgresServer) -> str:
    return server.url(fleet=f"takeover-{secrets.token_hex(6)}")


@contextlib.contextmanager
def under_load(made: Servers, *both: Served) -> Iterator[Load]:
    """Programs use the fleet during the block; after it, the log says what they were told, and is verified."""
    with Client([server.url for server in both], retry_seconds=SECONDS) as client:
        load = Load(client)
        load.begin()
        load.until_more(MORE)
        yield load
        load.until_more(MORE)
        load.end()
    load.check(made.store)
    verified = CliRunner().invoke(main, ["audit", "verify", "--store", made.store])
    assert verified.exit_code == 0, verified.output


def role_of(server: Served) -> str:
    client = server.client()
    try:
        return client.call("GET", "/readyz").body.decode().partition(" at ")[0].strip()
    finally:
        client.close()


def test_a_hand_over_and_a_kill_under_load_lose_nothing(tmp_path: Path) -> None:
    with servers(tmp_path, new_fleet(shared())) as made:
        first, second = made.start(), made.start("--standby")
        with under_load(made, first, second) as load:
            assert hand_over(made.store) == second.url
            assert (role_of(first), role_of(second)) == ("ready: standby", "ready")
            load.until_more(MORE)
            made.kill(second)
            ask_until_done(first)  # how long that takes is measured 20 times, see below
            assert role_of(first) == "ready"
        assert made.stop(first) == 0


@pytest.mark.takeover_long
def test_a_standby_takes_over_20_times_within_10_s(tmp_path: Path) -> None:
    took = []
    with servers(tmp_path, new_fleet(shared())) as made:
        writer, standby = made.start(), made.start("--standby")
        ports = writer.port, standby.port
        with under_load(made, writer, standby) as load:
            for _ in range(20):
                made.kill(writer)
                _, seconds = ask_until_done(standby)
                took.append(seconds)
                port = next(port for port in ports if port != standby.port)
                writer, standby = standby, made.start("--standby", port=port)
                load.until_more(MORE)
        assert [made.stop(server) for server in (standby, writer)] == [0, 0]
    print("took over within s:", *(f"{one:.1f}" for one in sorted(took)))  # noqa: T201 - the figures of the run
    assert max(took) < TAKES_OVER_SECONDS


@pytest.mark.takeover_long
def test_a_writer_that_was_stopped_under_load_and_wakes_has_written_nothing_more(tmp_path: Path) -> None:
    with servers(tmp_path, new_fleet(shared())) as made:
        first, second = made.start(), made.start("--standby")
        with under_load(made, second, first):
            first.process.send_signal(signal.SIGSTOP)
            _, seconds = ask_until_done(second)
            assert seconds < TAKES_OVER_SECONDS
            first.process.send_signal(signal.SIGCONT)
            first.process.wait(SECONDS)
            assert "taken over" in first.log.read_text(encoding="utf-8")
        assert (made.stop(first), made.stop(second)) == (1, 0)


@pytest.mark.takeover_long
def test_a_writer_that_was_stopped_and_wakes_answers_nothing_as_the_writer(tmp_path: Path) -> None:
    with servers(tmp_path, new_fleet(shared())) as made:
        first, second = made.start(), made.start("--standby")
        many, other = [first.client() for _ in range(ASKING)], second.client()
        assert other.post("/v1/allocate-budget", {"agent": "thread-0", "budget": {"tokens": 10}}).status == 200
        other.close()  # unused for 5 s, it would be closed by the server, and a takeover may take as long
        for client in many:
            client.call("GET", "/healthz")
        first.process.send_signal(signal.SIGSTOP)
        ask_until_done(second)
        assert other.post("/v1/throttle", {"agent": "thread-0", "rate": 0.5}).status == 200
        # They lie in the sockets of the writer that was, and are the first that it reads.
        for client in many:
            body = b'{"type": "GetStatus", "agent": "thread-0"}'
            client._connection.request("POST", "/v1/messages", body, {"content-type": "application/json"})
        first.process.send_signal(signal.SIGCONT)
        first.process.wait(SECONDS)
        # It may end before it answers; it does not say what it remembers.
        assert {status_of(client) for client in many} <= {None, 503}
        other.close()
        assert (made.stop(first), made.stop(second)) == (1, 0)


def status_of(client: HttpClient) -> int | None:
    """How a request was answered that was sent; None where it was not."""
    try:
        return client._connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        client.close()


@pytest.mark.takeover_long
def test_both_servers_are_killed_and_started_again(tmp_path: Path) -> None:
    with servers(tmp_path, new_fleet(shared())) as made:
        both = made.start(), made.start("--standby")
        ports = [server.port for server in both]
        with under_load(made, *both):
            for server in both:
                made.kill(server)
            both = (made.start("--standby", port=ports[0]), made.start("--standby", port=ports[1]))
            ask_until_done(both[0])
            assert sorted(role_of(server) for server in both) == ["ready", "ready: standby"]
        for server in both:
            assert made.stop(server) == 0


@pytest.mark.takeover_long
def test_the_database_goes_away_and_comes_back_under_both(tmp_path: Path) -> None:
    with running() as database, servers(tmp_path, new_fleet(database)) as made:
        writer, standby = made.start(), made.start("--standby")
        with under_load(made, writer, standby):
            database.stop()
            until(lambda: readiness(standby) == (503, "unavailable"))
            client = standby.client()
            known = client.post("/v1/get-status", {"agent": "thread-0"})
            assert known.status == 200
            assert float(known.headers["x-tallystick-age-seconds"]) > BEHIND_SECONDS
            asked = client.post("/v1/check-enforcement", {"agent": "thread-0"})
            assert (asked.status, asked.json["code"]) in ((503, "no_writer"), (503, "store_away"))
            client.close()
            database.start()
            ask_until_done(standby)
            until(lambda: readiness(standby)[0] == 200)
        if role_of(standby) == "ready: standby":
            assert role_of(writer) == "ready"
        else:  # It was the first to reach the database: the other one has learned that.
            assert role_of(standby) == "ready"
            writer.process.wait(SECONDS)
            assert made.stop(writer) == 1


def readiness(server: Served) -> tuple[int, str | None]:
    client = server.client()
    try:
        answer = client.call("GET", "/readyz")
        return answer.status, answer.json["code"] if answer.status != 200 else None
    finally:
        client.close()
