"""A PostgreSQL server of the tests' own: made, started and stopped here, as an ordinary user."""

import atexit
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import psycopg
import pytest

_DEBIAN = "/usr/lib/postgresql"
_SERVER = "postgres"
_SECONDS = 60
_LONG = os.environ.get("TALLYSTICK_POSTGRES") == "long"
RESTARTS = 50 if _LONG else 3
"""How often a test stops or kills a server under load. `make postgres` takes the longer way."""
OPENERS = 100 if _LONG else 10
"""How many fleets two processes open at once."""


MISSING = "PostgreSQL is not installed (Debian: postgresql)"


def programs() -> Path | None:
    """The folder with the server's programs, the newest there is; None where it is not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path(_DEBIAN).glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


def _give(folder: Path, user: str | None) -> None:
    if user is not None:
        folder.chmod(0o755)
        shutil.chown(folder, user)


@cache
def _template(user: str | None) -> Path:
    """A folder that is there until the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    _give(Path(folder.name), user)
    return Path(folder.name)


class PostgresServer:
    """One cluster, new or a replica. The superuser may not run it: then it runs as the package's own user."""

    def __init__(self, installed: Path, folder: Path, copied: "PostgresServer | None" = None) -> None:
        self._bin, self.folder = installed, folder
        self._user = _SERVER if os.geteuid() == 0 else None
        _give(folder, self._user)
        self._data = folder / "data"
        data = str(self._data)
        if copied is None:
            subprocess.run(["cp", "-a", str(self._new_cluster()), data], user=self._user, check=True)
        else:
            self._run("pg_basebackup", "-D", data, "-h", str(copied.folder), "-U", "tests", "-R", "-c", "fast", "-N")
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write(f"listen_addresses = ''\nunix_socket_directories = '{folder}'\nmax_connections = 200\n")
        self.start()

    def _new_cluster(self) -> Path:
        """The files of a cluster that was never started: making them takes ten times as long as copying them."""
        made = _template(self._user) / "data"
        if not made.exists():
            self._run("initdb", "-D", str(made), "-U", "tests", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        return made

    @property
    def user(self) -> str:
        """Who runs the server."""
        return self._user or pwd.getpwuid(os.geteuid()).pw_name

    def url(self, database: str = "postgres", fleet: str = "main") -> str:
        return f"postgresql://tests@/{database}?host={self.folder}&fleet={fleet}"

    def start(self, file_max: int | None = None) -> None:
        """Start it; where ``file_max`` is given, none of its files can grow beyond so many bytes."""
        before = [] if file_max is None else ["prlimit", f"--fsize={file_max}:"]
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", log, "start", before=before)

    def stop(self) -> None:
        """Stop it at once, as its operator does for an upgrade: connections are cut, what was committed is there."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "fast", "stop")

    def kill(self) -> None:
        """Kill it with all its processes, as the system does that runs out of memory."""
        os.kill(self.pid, signal.SIGQUIT)
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop", check=False)

    @property
    def pid(self) -> int:
        """The server's first process, which is the parent of all others."""
        return int((self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])

    def configure(self, settings: str, access: str, files: dict[str, bytes]) -> None:
        """Start it anew with more settings, other rules of who may connect, and files that only it may read."""
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as known:
            known.write(settings)
        (self._data / "pg_hba.conf").write_text(access, encoding="utf-8")
        for name, content in files.items():
            (self._data / name).write_bytes(content)
            (self._data / name).chmod(0o600)
            shutil.chown(self._data / name, self.user)
        self.stop()
        self.start()

    def new_database(self, name: str) -> None:
        with psycopg.connect(self.url().partition("&fleet")[0], autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]

    def _run(self, program: str, *arguments: str, check: bool = True, before: Sequence[str] = ()) -> None:
        done = subprocess.run(
            [*before, str(self._bin / program), *arguments],
            user=self._user,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_SECONDS,
            check=False,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
        )
        assert not check or done.returncode == 0, done.stderr.decode()


def needed() -> None:
    """Skip a test where PostgreSQL is not installed; fail where nothing may be skipped."""
    if programs() is None:
        assert not os.environ.get("CI"), MISSING
        pytest.skip(MISSING)


@contextlib.contextmanager
def running(copied: PostgresServer | None = None) -> Iterator[PostgresServer]:
    """A server for a block, or a replica of one. Its folder's path is short, as the paths of sockets must be."""
    needed()
    installed = programs()
    assert installed is not None
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(installed, Path(folder), copied)
        try:
            yield server
        finally:
            server.kill()


@cache
def shared() -> PostgresServer:
    """One server for all tests of a process that do not stop it; it ends with the process."""
    needed()
    opened = running()
    server = opened.__enter__()
    atexit.register(opened.__exit__, None, None, None)
    return server
