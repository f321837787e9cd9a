"""What may stand between a fleet and PostgreSQL: TLS, which proves who the server is, and poolers."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from tallystick.events.log.store import StoreError, open_store
from tests.support.certificates import Authority
from tests.support.postgres import PostgresServer, running
from tests.support.served_links import free_port
from tests.support.store_processes import SECONDS, records

PASSWORD = "se cret"  # noqa: S105 # of a server that lives as long as these tests
MISSING = "PgBouncer is not installed (Debian: pgbouncer)"
ACCESS = "local all tests trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
"""Over the network only with TLS and a password."""


class Served(NamedTuple):
    """A server that listens on a port of this machine, and its authority's certificate."""

    server: PostgresServer
    port: int
    ca: Path

    def url(self, fleet: str, port: int | None = None) -> str:
        return f"postgresql://ada:se%20cret@127.0.0.1:{port or self.port}/ada?fleet={fleet}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    authority, port = Authority(tmp_path_factory.mktemp("authority")), free_port()
    key, certificate = authority.certify("postgres")
    with running() as server:
        settings = f"listen_addresses = '127.0.0.1'\nport = {port}\nssl = on\n"
        server.configure(settings, ACCESS, {"server.key": key, "server.crt": certificate})
        local = f"postgresql://tests@/postgres?host={server.folder}&port={port}"
        with psycopg.connect(local, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE ada LOGIN PASSWORD '{PASSWORD}'")
            connection.execute("CREATE DATABASE ada OWNER ada")
        yield Served(server, port, authority.ca)


def writes_and_reads(url: str) -> None:
    """A writer and a follower in one process, and more commits than it takes until a statement is prepared."""
    with contextlib.closing(open_store(url, writer=True)) as store:
        for position in range(1, 12):
            store.append(records(position, position))
        with contextlib.closing(open_store(url)) as reader:
            assert [record.position for record in reader.read()] == list(range(1, 12))


# --- TLS -------------------------------------------------------------------------------------------------------------


def test_a_fleet_over_tls_with_a_server_that_proves_who_it_is(served: Served) -> None:
    url = f"{served.url('proved')}&sslmode=verify-full&sslrootcert={served.ca}"
    writes_and_reads(url)
    with psycopg.connect(f"{url.replace('fleet=proved&', '')}") as connection:
        assert connection.pgconn.ssl_in_use


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("sslmode=verify-full&sslrootcert={other}", "certificate verify failed"),
        ("sslmode=verify-full&sslrootcert=/none.pem", 'root certificate file "/none.pem" does not exist'),
        ("sslmode=disable", "no encryption"),
    ],
    ids=["another authority", "no certificate", "without TLS"],
)
def test_a_server_that_proves_nothing_is_refused_in_one_line(
    served: Served, options: str, said: str, tmp_path: Path
) -> None:
    url = f"{served.url('refused')}&{options.format(other=Authority(tmp_path).ca)}"
    with pytest.raises(StoreError, match=said) as refused:
        open_store(url, writer=True)
    assert "\n" not in str(refused.value)
    assert "cret" not in str(refused.value)


# --- poolers ---------------------------------------------------------------------------------------------------------


def program() -> str:
    """The pooler that is installed."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        assert not os.environ.get("CI"), MISSING
        pytest.skip(MISSING)
    return found


def listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def pooled(served: Served, mode: str, settings: str = "") -> Iterator[int]:
    """The port of a pgbouncer before the server."""
    port, home = free_port(), served.server.folder / f"pooler-{mode}"
    home.mkdir(exist_ok=True)
    (home / "users.txt").write_text(f'"ada" "{PASSWORD}"\n')
    (home / "pooler.ini").write_text(
        f"[databases]\nada = host=127.0.0.1 port={served.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {home}/users.txt\n"
        f"server_tls_sslmode = require\npool_mode = {mode}\n{settings}"
    )
    user = served.server.user if os.geteuid() == 0 else None
    process = subprocess.Popen(
        [program(), str(home / "pooler.ini")], user=user, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + SECONDS
        while not listens(port):
            assert process.poll() is None, "the pooler has ended"
            assert time.monotonic() < until, "the pooler does not listen"
        yield port
    finally:
        process.terminate()
        process.wait(SECONDS)


def test_a_pooler_that_keeps_a_session_for_each_connection_is_as_good_as_none(served: Served) -> None:
    with pooled(served, "session") as port:
        writes_and_reads(served.url("pooled", port))


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("settings", ["", "server_round_robin = 1\nmin_pool_size = 3\n"], ids=["the last", "in turn"])
@pytest.mark.parametrize("writer", [True, False], ids=["writer", "reader"])
def test_a_pooler_that_keeps_no_session_is_refused_before_anything_is_written(
    served: Served, mode: str, settings: str, writer: bool
) -> None:
    with pooled(served, mode, settings) as port, pytest.raises(StoreError) as refused:
        open_store(served.url("lost", port), writer=writer).close()
    assert "found a pooler that gives each transaction another session" in str(refused.value)
    assert "pool_mode = session" in str(refused.value)
    assert "cret" not in str(refused.value)
