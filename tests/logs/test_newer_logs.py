"""A log that a newer version went on with: whoever reads it says so, with the position, and fails in no other way."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.approvals.links import Link
from tallystick.approvals.used import UsedLinks
from tallystick.cli.main import main
from tallystick.config.loader import from_mapping
from tallystick.events import catalog as e
from tallystick.events.catalog.event import Event, Kind
from tallystick.events.log.broken_chain import BrokenChain, NewerLog
from tallystick.events.log.codec import digest_of, seal
from tallystick.events.log.lookup import Lookup
from tallystick.events.log.reading import command_of, event_of
from tallystick.events.log.store import Record, open_store
from tallystick.events.log.store_memory import MemoryStore
from tallystick.http.views.reader import Reader
from tallystick.standby.followed import Followed
from tallystick.webhooks.beginning import beginning_of
from tests.support.core import START
from tests.support.programs import until
from tests.support.source_files import source_file
from tests.support.whatif import POLICY, allocate, use

URL = "sqlite:///tallystick.db"
TO_DO = "use the newer tallystick that wrote it"


class Levitated(Event, kw_only=True, tag="levitated.v1"):
    """What no version knows."""

    kind: ClassVar[Kind] = "fact"
    agent: str


class ConfigLoadedLater(Event, kw_only=True, tag="config-loaded.v9"):
    """A known event in an unknown version."""

    kind: ClassVar[Kind] = "fact"


REPLY = b'{"ok":{}}'
NEWER: dict[str, tuple[Event, bytes | None, str]] = {
    "event": (Levitated(agent="ann"), None, "levitated.v1 is no event that this tallystick knows"),
    "version of an event": (ConfigLoadedLater(), None, "config-loaded.v9 is no event that this tallystick knows"),
    "command": (
        e.AgentStopped(agent="ann", reason="r"),
        b'{"type":"Levitate","id":"new"}',
        "Levitate is no command that this tallystick knows",
    ),
    "field of a command": (
        e.AgentStopped(agent="ann", reason="r"),
        b'{"type":"Stop","id":"new","agent":"ann","reason":"r","height":3}',
        "Stop has a field, height, that this tallystick does not know",
    ),
}


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TALLYSTICK_STORE", "TALLYSTICK_CONFIG", "TALLYSTICK_PRICES", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def newer(kind: str) -> tuple[int, str]:
    """A log with what a newer version recorded at its end; the position of that, and what is to be said of it."""
    with Fleet.open(URL, from_mapping(POLICY), clock=ManualClock(START)) as fleet:
        for message in (allocate("ann", 1_000), use("ann", 10)):
            fleet.ask(message)
    store = open_store(URL, writer=True)
    last = store.last()
    assert last is not None
    event, asked, text = NEWER[kind]
    event.position, event.at = last.position + 1, event_of(last).at
    if asked is not None:
        event.id, event.by = "new", "operator"
    data, _ = seal(event, asked, None if asked is None else REPLY, digest_of(last.data))
    store.append([Record(event.position, str(event.__struct_config__.tag), data)])
    store.close()
    return event.position, text


def run(*args: str) -> Result:
    result = CliRunner().invoke(main, args, prog_name="tallystick")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


POSITION = "the position"
READERS = {
    "audit verify": ("audit", "verify"),
    "whatif": ("whatif",),
    "status": ("status",),
    "events": ("events",),
    "audit replay": ("audit", "replay", "--until", POSITION),
    "audit explain": ("audit", "explain", POSITION),
    "audit export": ("audit", "export", "--format", "csv"),
    "send": ("send", '{"type": "GetGlobalStatus"}'),
}
OF_COMMANDS = ("audit verify", "whatif")
"""Only these read what was asked."""


@pytest.mark.parametrize(
    ("kind", "command"),
    [(kind, command) for kind in NEWER for command in READERS if "command" not in kind or command in OF_COMMANDS],
)
def test_every_reader_says_that_the_log_is_of_a_newer_version_and_what_to_do(kind: str, command: str) -> None:
    position, text = newer(kind)
    result = run(*(str(position) if word == POSITION else word for word in READERS[command]))
    assert result.exit_code == 1
    assert f"position {position}: {text}: {TO_DO}" in result.output
    assert "broken" not in result.output
    assert "cannot be read" not in result.output


def test_the_audit_does_not_call_a_newer_log_bad() -> None:
    position, text = newer("command")
    lines = run("audit", "verify").stdout.splitlines()
    assert f"{'newer':<15} position {position}: {text}: {TO_DO}" in lines
    assert not any(line.startswith("bad") for line in lines)
    (problem,) = json.loads(run("audit", "verify", "--json").stdout)["problems"]
    assert (problem["position"], problem["reason"]) == (position, f"{text}: {TO_DO}")


def test_readers_within_a_program_say_so_too() -> None:
    position, text = newer("version of an event")
    store = open_store(URL)
    saying = re.escape(f"position {position}: {text}")
    with pytest.raises(NewerLog, match=saying):
        beginning_of("hook", store)
    with pytest.raises(NewerLog, match=saying):
        Lookup(store).event(position)
    answer = json.loads(Reader(store, log_time=True).answer(b'{"view":"status"}'))
    assert answer["error"]["code"] == "report_failed"
    assert text in answer["error"]["detail"]
    store.close()


def test_a_damaged_record_among_those_of_links_is_named() -> None:
    """As every record is that cannot be read: `BrokenChain`, which all who read logs expect."""
    damaged = Record(7, "agent-stopped.v1", b'{"type":"agent-stopped.v1","position":"?"}')
    links = UsedLinks(lambda after, upto: iter([damaged]))
    with pytest.raises(BrokenChain, match="position 7: the record cannot be read"):
        links.find(Link("fleet", "n-1", "stop", "ops", 0))


class OneMore(MemoryStore):
    """A store to which its writer adds records later on; as of one in a database, they are followed in pages."""

    looked_at = 0.0

    def __init__(self, added: Sequence[Record]) -> None:
        super().__init__()
        self._added = added

    def subscribe(self, after: int = 0) -> Any:
        return self

    def pages(self) -> Iterator[Sequence[Record]]:
        yield self._added

    def stop(self) -> None:
        """It has come to its end."""


def resumed(event: Event) -> Record:
    event.position = 1
    return Record(1, str(event.__struct_config__.tag), seal(event, None, None, bytes(32))[0])


def test_a_standby_that_comes_upon_newer_records_says_so() -> None:
    store: Any = OneMore([resumed(Levitated(agent="ann"))])
    followed = Followed(store, lambda records: None)
    until(lambda: followed.broken is not None)
    assert followed.broken == f"position 1: levitated.v1 is no event that this tallystick knows: {TO_DO}"
    followed.stop()


def test_a_standby_whose_thread_fails_in_another_way_says_so_too() -> None:
    def publish(records: Sequence[Record]) -> None:
        raise RuntimeError("nobody listens")

    store: Any = OneMore([resumed(e.FleetResumed())])
    followed = Followed(store, publish)
    until(lambda: followed.broken is not None)
    assert followed.broken == "RuntimeError: nobody listens"
    followed.stop()


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"type":3}', b'{"type":"Stop","agent":7}', b"[" * 100_000])
def test_a_command_that_no_version_would_have_recorded_is_damaged(data: bytes) -> None:
    with pytest.raises(BrokenChain, match="position 5: its command cannot be read") as raised:
        command_of(data, 5)
    assert not isinstance(raised.value, NewerLog)


def test_records_are_read_in_one_place() -> None:
    """Elsewhere the errors of decoding would be forgotten."""
    root = Path(__file__).resolve().parent.parent.parent
    rooms = ("actors", "config", "events", "projections", "tallystick")
    files = {path.resolve() for room in rooms for path in (root / room).rglob("*.py")}
    imported = {file.relative_to(root).as_posix(): {name for *_, name in source_file(file).imports} for file in files}
    assert {file for file, names in imported.items() if "decode_event" in names} == {"events/log/reading.py"}
