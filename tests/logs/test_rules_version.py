"""A log says by which version of the rules each stretch was decided, and what is newer than the program is refused."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.cli.main import main
from tallystick.config.loader import from_mapping
from tallystick.events import catalog as e
from tallystick.events.catalog import rules_version
from tallystick.events.log import snapshot
from tallystick.events.log.codec import decode_event
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import Store, open_store
from tests.support.core import START
from tests.support.whatif import POLICY, allocate, use

HERE = Path(__file__).parent
OURS = rules_version.RULES_VERSION
URL = "sqlite:///tallystick.db"


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TALLYSTICK_STORE", "TALLYSTICK_CONFIG", "TALLYSTICK_PRICES", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def run(*args: str) -> Result:
    result = CliRunner().invoke(main, args, prog_name="tallystick")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def opened(*messages: dict[str, Any], store: Store | str = URL) -> None:
    """A fleet that is opened, is asked these messages, and is closed."""
    with Fleet.open(store, from_mapping(POLICY), clock=ManualClock(START)) as fleet:
        for message in messages:
            fleet.ask(message)


def marks() -> list[tuple[int, int]]:
    """Where the log says by which rules it goes on: positions and versions."""
    store = open_store(URL)
    events = [decode_event(record.data, record.name) for record in store.read()]
    store.close()
    found = [event for event in events if isinstance(event, e.ConfigLoaded | e.RulesAdopted)]
    return [(event.position, event.rules) for event in found]


def old_log() -> int:
    """A log from before versions of the rules in this test's folder; its last position."""
    Path("tallystick.db").write_bytes(gzip.decompress((HERE / "data" / "messages.sqlite.gz").read_bytes()))
    store = open_store(URL)
    last = store.last()
    store.close()
    assert last is not None
    return last.position


def test_a_new_fleet_records_its_version_with_its_first_configuration_and_never_again() -> None:
    opened(allocate("ann", 1_000), {"type": "LoadConfig", "config": {"minimum_share_percent": 1}})
    opened()
    (first, *later) = marks()
    assert first == (1, OURS)
    assert later
    assert {rules for _, rules in later} == {1}, "left out of the record, which is then of version 1"


def test_a_newer_program_that_opens_an_older_log_records_once_that_it_decides_by_its_own() -> None:
    end = old_log()
    with Fleet.open(URL, clock=ManualClock(START)):
        pass
    with Fleet.open(URL, clock=ManualClock(START)) as fleet:
        assert fleet._manager.ledger.rules_version == OURS
    assert [mark for mark in marks() if mark[0] > end] == [(end + 1, OURS)]
    assert f"from here on decisions follow version {OURS} of the rules" in run("audit", "explain", str(end + 1)).stdout


def test_a_program_that_only_reads_records_nothing() -> None:
    end = old_log()
    assert run("status").exit_code == 0
    assert run("whatif").exit_code == 0
    assert all(position <= end for position, _ in marks())


def test_the_version_is_in_the_snapshot() -> None:
    opened()
    store = open_store(URL)
    ledger = open_ledger(store).ledger
    store.close()
    again = snapshot.load(snapshot.dump(ledger))
    assert again is not None
    assert again.rules_version == ledger.rules_version == OURS


NEWER = f"decided by version {OURS + 1} of the rules, and this tallystick knows versions up to {OURS}"
READERS = {
    "audit verify": ("audit", "verify"),
    "audit replay": ("audit", "replay", "--until", "3"),
    "audit explain": ("audit", "explain", "2"),
    "whatif": ("whatif",),
    "status": ("status",),
    "report": ("report",),
    "status at a position": ("status", "--at", "2"),
    "send": ("send", '{"type": "GetGlobalStatus"}'),
    "store info": ("store", "info"),
}


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("seen", [False, True], ids=["never shown", "shown by the newer program before"])
def test_a_newer_log_is_refused_by_a_sentence_that_says_what_to_do(
    command: str, seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(rules_version, "RULES_VERSION", OURS + 1)
        opened(allocate("ann", 1_000), use("ann", 10))
        assert not seen or run("status").exit_code == 0
    result = run(*READERS[command])
    assert result.exit_code != 0
    assert NEWER in result.output
    assert "use the newer tallystick that wrote it" in result.output
    assert "the log is broken" not in result.output


def test_what_if_decides_again_only_what_was_decided_by_its_own_rules_and_says_so() -> None:
    end = old_log()
    opened(allocate("new-one", 10))
    result = run("whatif")
    assert result.exit_code == 0, result.output
    assert f"Positions 1 to {end:,} were decided by version 1 of the rules" in result.stdout
    assert "the same, as far as it was compared" in result.stdout
    answer = json.loads(run("whatif", "--json").stdout)
    first, second = answer["rules"]
    assert first == {"first": 1, "last": end, "version": 1, "compared": False}
    assert (second["first"], second["version"], second["compared"]) == (end + 1, OURS, True)
    assert not answer["differs"]


def test_a_question_about_an_older_log_names_what_is_not_compared() -> None:
    end = old_log()
    answer = json.loads(run("whatif", "--total", "tokens=1000000", "--json").stdout)
    assert any(f"Positions 1 to {end:,} were decided by version 1" in sentence for sentence in answer["assumptions"])
