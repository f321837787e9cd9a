"""``tallystick simulate``: a scenario through the real fleet, under a clock that is moved from line to line."""

import datetime as dt
import json
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
import structlog

from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.simulation import Answer, SimulatedFleet
from tallystick.cli.common import (
    config_option,
    output,
    prices_option,
    settings_for,
    with_progress,
)
from tallystick.cli.exit_codes import WRONG_INPUT
from tallystick.events.decide.answers import stamp
from tallystick.events.log.codec import digest_of, encode_answer, read_message
from tallystick.events.log.store import Store, open_store
from tallystick.events.log.store_place import shown
from tallystick.events.messages import NAME_MAX
from tallystick.events.messages.legible import mended
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.conservation import check_conserved
from tallystick.moments import read_time
from tallystick.reports.reporter import Reporter
from tallystick.wording import one_line

ASKED_BY = "local"
"""Who asks where a line does not say: what `Fleet.ask` assumes, too."""

_decode_line = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class BadScenario(click.ClickException):
    """A line that is no line of a scenario: its number, the column, and why."""

    exit_code = WRONG_INPUT

    def __init__(self, name: str, line: int, column: int, reason: str) -> None:
        super().__init__(f"{name}:{line}:{column}: {reason}; nothing was run")


class Line(NamedTuple):
    """One message of a scenario. ``message`` is its JSON, to be read by the wire contract."""

    number: int
    at: dt.datetime
    by: str
    message: bytes


@click.command(short_help="Run a scenario under a virtual clock.")
@click.argument("scenario", metavar="SCENARIO.jsonl", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@config_option
@prices_option
@click.option(
    "--store", "store_url", metavar="URL", default="memory:", show_default=True, help="Keep the simulated fleet here."
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write here instead of to stdout.")
def simulate(
    scenario: Path, config_file: Path | None, prices_file: Path | None, store_url: str, out: Path | None
) -> None:
    """Run a scenario through the real manager and specialists, without waiting: the same file gives the same bytes.

    Each line of the file is one message with "at", the time at which it is sent (RFC 3339, not earlier than the line
    before), and if you like its "id" (else line-N) and "by" (else local). Between two lines every timer that is due
    fires first, in order: leases and holds end, days begin, waiting tasks start. The output is one JSON line per
    message, {"line", "at", "reply"}, and a last one, {"end": {…}}, with the log's length and digest.

    The whole file is read before anything runs: a bad line changes nothing; the command exits with 2 and prints its
    number, column and reason. A message that the fleet refuses is no bad line: its reply says why, and the scenario
    goes on.

    \b
    Example:
      echo '{"at": "2026-03-04T12:00:00Z", "type": "GetGlobalStatus"}' > scenario.jsonl
      tallystick simulate scenario.jsonl
    """
    # The alerts of a simulated fleet concern no operator; why a fleet stopped is this command's error.
    structlog.configure(processors=[_drop])
    name, data = str(scenario), scenario.read_bytes()
    count, first_at = 0, None
    for line in lines_of(name, data):
        count, first_at = count + 1, first_at or line.at
    if first_at is None:
        raise BadScenario(name, 1, 1, "the file holds no messages")
    store = open_store(store_url, writer=True)
    try:
        settings = settings_for(store, config_file, prices_file)
        fleet = SimulatedFleet.open(store, settings.config, settings.prices, first_at, reporter=Reporter)
        if fleet.ledger.now > first_at:
            reason = f"the fleet at {shown(store_url)} has come to {stamp(fleet.ledger.now)} already"
            raise BadScenario(name, 1, 1, reason)
        with output(out) as stream:
            for reply in replies(fleet, with_progress(lines_of(name, data), count, "simulating")):
                stream.write(reply)
            stream.write(_end(fleet, store))
    finally:
        store.close()


def _drop(logger: object, method: str, event: object) -> str:
    raise structlog.DropEvent


def replies(fleet: SimulatedFleet, lines: Iterable[Line]) -> Iterator[bytes]:
    """What the fleet replies to the lines, in their order, as this command prints it.

    A reply that waits for something (`GetTask`) keeps those behind it back; behind the last line time passes until the
    last one is there.
    """
    waiting: deque[tuple[Line, Answer]] = deque()
    for line in lines:
        waiting.append((line, _send(fleet, line)))
        while waiting and waiting[0][1].answers is not None:
            yield _printed(*waiting.popleft())
    for line, answer in waiting:
        fleet.wait_for(answer)
        yield _printed(line, answer)


def _send(fleet: SimulatedFleet, line: Line) -> Answer:
    read = read_message(line.message, lambda: f"line-{line.number}")
    if isinstance(read, Refusal):
        fleet.pass_time(line.at)
        answer = Answer()
        answer.set([encode_answer(read)])
        return answer
    command, asked = read
    return fleet.send(Envelope([command], [asked], line.by, None), line.at)


def _printed(line: Line, answer: Answer) -> bytes:
    assert answer.answers is not None
    (reply,) = answer.answers
    return b'{"line":%d,"at":"%s","reply":%s}\n' % (line.number, stamp(line.at).encode(), reply)


def _end(fleet: SimulatedFleet, store: Store) -> bytes:
    """The last line, once conservation is proved in full."""
    check_conserved(fleet.ledger)
    last = store.last()
    assert last is not None
    end = {"position": last.position, "digest": digest_of(last.data).hex(), "conserved": True}
    return msgspec.json.encode({"end": end}) + b"\n"


def lines_of(name: str, data: bytes) -> Iterator[Line]:
    """The lines of a scenario; blank ones are passed over.

    Raises:
        BadScenario: a line is not a JSON object with a time that is not earlier than the one before.
    """
    before: dt.datetime | None = None
    for number, text in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not text.strip():
            continue
        try:
            text.decode()
            fields = _fields(text)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise BadScenario(name, number, *_what_is_wrong(text, error)) from None
        at = _time_of(name, number, text, fields)
        if before is not None and at < before:
            reason = f"at: {stamp(at)} is earlier than the line before, {stamp(before)}"
            raise BadScenario(name, number, _column(text, "at"), reason)
        by = ASKED_BY if "by" not in fields else _value(fields["by"])
        if not isinstance(by, str) or not 1 <= len(by) <= NAME_MAX:
            reason = f"by: allowed is a name of 1 to {NAME_MAX} characters"
            raise BadScenario(name, number, _column(text, "by"), reason)
        before = at
        # The rest is passed on byte for byte, so that no number is rounded on the way.
        rest = (_quoted(key) + b":" + bytes(raw) for key, raw in fields.items() if key not in ("at", "by"))
        yield Line(number, at, by, b"{" + b",".join(rest) + b"}")


def _fields(text: bytes) -> dict[str, msgspec.Raw]:
    """The fields of a line, also where a provider's usage object in it cannot be decoded as it is."""
    try:
        return _decode_line(text)
    except (msgspec.MsgspecError, RecursionError):
        again = mended(text)
        if again is None or again == text:
            raise
        return _decode_line(again)


def _time_of(name: str, number: int, text: bytes, fields: dict[str, msgspec.Raw]) -> dt.datetime:
    if "at" not in fields:
        raise BadScenario(name, number, 1, 'at: missing; each line says when, like "at": "2026-03-04T12:00:00Z"')
    value = _value(fields["at"])
    at = read_time(value) if isinstance(value, str) else None
    if at is None:
        found = one_line(bytes(fields["at"]).decode(errors="replace"))[:60]
        reason = f"at: found {found}, allowed is an RFC 3339 time like 2026-03-04T12:00:00Z"
        raise BadScenario(name, number, _column(text, "at"), reason)
    return at


def _value(raw: msgspec.Raw) -> Any:
    return msgspec.json.decode(raw)


def _quoted(key: str) -> bytes:
    return msgspec.json.encode(key)


def _column(text: bytes, key: str) -> int:
    """Where a key stands, in characters counted from 1."""
    place = text.find(b'"%s"' % key.encode())
    return 1 if place < 0 else len(text[:place].decode(errors="replace")) + 1


def _what_is_wrong(text: bytes, error: Exception) -> tuple[int, str]:
    """The column and the reason why a line is no JSON object."""
    try:
        value = json.loads(text.decode())
    except UnicodeDecodeError as bad:
        return len(text[: bad.start].decode()) + 1, "not UTF-8"
    except json.JSONDecodeError as bad:
        return bad.colno, f"not JSON: {bad.msg}"
    except RecursionError:
        return 1, "not JSON: nested too deeply"
    if not isinstance(value, dict):
        return 1, "a line is one JSON object, a message"
    return 1, f"not JSON: {error}"
