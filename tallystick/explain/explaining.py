"""``tallystick audit explain``: one event with all that surrounds it, or the whole story of an agent or a task."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import click
import msgspec

from tallystick.cli.common import as_json as json_text
from tallystick.cli.common import counted, json_option, one_line, reading, shown_time, store_option
from tallystick.events import catalog as e
from tallystick.events.catalog import STORED_NAME
from tallystick.events.log.audit import Replay
from tallystick.events.log.codec import decode_event, exchange_of
from tallystick.events.log.store import Record, Store
from tallystick.explain.causes import History
from tallystick.explain.reasons import why
from tallystick.explain.sentences import amounts, sentence

_OF_THE_FLEET = (
    e.FleetResponseChanged,
    e.FleetPaused,
    e.FleetResumed,
    e.ReserveReleased,
    e.PeriodRenewed,
    e.DayBegan,
    e.BreakerTripped,
    e.BreakerClosed,
    e.LimitApproved,
)
"""What concerns every open agent, and every task that is not finished."""
_ROUTINE = (e.UsageReported, e.HoldPlaced, e.HoldExtended, e.HoldSettled, e.AgentHeard, e.LeaseExtended)
"""What an agent does all day: told in sums."""
_LISTED_MAX = 40


@click.command(short_help="Say why it was decided so.")
@click.argument("what", metavar="AGENT|TASK|POSITION")
@store_option
@json_option
def explain(what: str, store_url: str, as_json: bool) -> None:
    """Say why: of a POSITION its event, who asked for it, the rule with its numbers, and what led to it; of an AGENT
    or a TASK its whole story.

    The log is proved from its first record on the way. An agent or task whose id is a number is written agent:42.

    \b
    Examples:
      tallystick audit explain 17
      tallystick audit explain a-1
      tallystick audit explain T-204
    """
    with reading(store_url) as store:
        if what.isascii() and what.isdigit():
            told = _of_position(store, int(what))
            click.echo(json_text(told) if as_json else "\n".join(_paragraphs(told)))
            return
        agent = what.removeprefix("agent:")
        story = list(_story(store, agent))
    if not story:
        raise click.ClickException(f"no event names {agent!r}: tallystick audit replay lists the agents")
    if as_json:
        click.echo(json_text({"agent": agent, "story": [entry._asdict() for entry in story]}))
        return
    for entry in story:
        place = str(entry.position) if entry.until == entry.position else f"{entry.position}–{entry.until}"
        by = f"  ({entry.by})" if entry.by else ""
        click.echo(one_line(f"{place:>11}  {entry.at}  {entry.text}{by}"))


# --- one event -------------------------------------------------------------------------------------------------------


def _of_position(store: Store, position: int) -> dict[str, Any]:
    """Everything about one event, in plain values.

    Raises:
        ClickException: there is no such position.
        BrokenChain: a record on the way is not what was written.
    """
    last = store.last()
    end = 0 if last is None else last.position
    if not 1 <= position <= end:
        raise click.ClickException(f"there is no position {position}: the log has positions 1 to {end}")
    first, until = _command_around(store, position, end)
    replay, history = Replay(), History()
    told: dict[str, Any] = {}
    caused = []
    for record in counted(store.read(0, until), until, "replaying"):
        event = replay.prove(record)
        led_to = history.led_to(event, replay.ledger) if event.position == position else []
        replay.apply(event)
        history.fold(event)
        if event.position >= first:
            caused.append({"position": event.position, "type": STORED_NAME[type(event)], "text": sentence(event)})
        if event.position == position:
            told = _facts(event, record)
            told |= {"why": why(event, replay.ledger, history), "led_to_by": led_to}
    exchange = exchange_of(_there(store, first).data)
    if bytes(exchange.command) and bytes(exchange.reply):
        told["command"] = msgspec.json.decode(exchange.command)
        told["reply"] = reply = msgspec.json.decode(exchange.reply)
        answer = reply.get("ok") or {}
        behind = history.behind(answer.get("decided_by"), answer.get("agent", ""), replay.ledger)
        told["led_to_by"] += [place for place in behind if place is not None and place < first]
    told["caused_together"] = caused
    told["led_to_by"] = [
        {"position": place, "text": _told_at(store, place)} for place in sorted(set(told["led_to_by"])) if place < first
    ]
    return told


def _facts(event: e.Event, record: Record) -> dict[str, Any]:
    fields = {name: value for name, value in msgspec.to_builtins(event).items() if name not in _HEAD}
    return {
        "position": event.position,
        "at": event.at.isoformat().replace("+00:00", "Z"),
        "type": record.name,
        "kind": event.kind,
        "id": event.id,
        "by": event.by,
        "text": sentence(event),
        "event": fields,
    }


_HEAD = frozenset({"type", "position", "at", "id", "by"})


def _there(store: Store, position: int) -> Record:
    record = store.record(position)
    assert record is not None, "the log has no gaps: it was just proved"
    return record


def _told_at(store: Store, position: int) -> str:
    record = _there(store, position)
    return sentence(decode_event(record.data, record.name))


def _command_around(store: Store, position: int, end: int) -> tuple[int, int]:
    """The first and the last position of what one command caused, or the clock at one moment."""
    first = until = position
    id = _id_at(store, position)
    while first > 1 and not _begins(store, first) and _id_at(store, first - 1) == id:
        first -= 1
    while until < end and _id_at(store, until + 1) == id and not _begins(store, until + 1):
        until += 1
    return first, until


class _Whose(msgspec.Struct):
    id: str = ""
    at: str = ""


_whose = msgspec.json.Decoder(_Whose).decode


def _id_at(store: Store, position: int) -> tuple[str, str]:
    whose = _whose(_there(store, position).data)
    return (whose.id, whose.at)


def _begins(store: Store, position: int) -> bool:
    """Whether a record is its command's first."""
    return bool(bytes(exchange_of(_there(store, position).data).command))


def _paragraphs(told: dict[str, Any]) -> Iterator[str]:
    """An explanation, for people."""
    yield f"position {told['position']}  {told['at']}  {told['type']} (a {told['kind']})"
    yield f"  {one_line(told['text'])}"
    if told["why"]:
        yield "\nwhy"
        yield from (f"  {one_line(line)}" for line in told["why"])
    yield "\nwho asked"
    if "command" in told:
        yield f"  {one_line(told['by'])}, with the id {one_line(told['id'])}:"
        yield f"  {_compact(told['command'])}"
        yield "and was answered"
        yield f"  {_compact(told['reply'])}"
    else:
        yield f"  nobody: {one_line(told['by'])} brought it, because its time had come"
    if len(told["caused_together"]) > 1:
        yield "\nrecorded together, in this order"
        yield from _listed(told["caused_together"], told["position"])
    if told["led_to_by"]:
        yield "\nwhat led to it"
        yield from _listed(told["led_to_by"], None)


def _listed(entries: list[dict[str, Any]], marked: int | None) -> Iterator[str]:
    """Entries with their positions; of very many, those around the marked one."""
    place = next((i for i, entry in enumerate(entries) if entry["position"] == marked), 0)
    start = max(0, min(place - _LISTED_MAX // 2, len(entries) - _LISTED_MAX))
    for entry in entries[start : start + _LISTED_MAX]:
        mark = "→" if entry["position"] == marked else " "
        yield f"{mark} {entry['position']:>8}  {one_line(entry['text'])}"
    if len(entries) > _LISTED_MAX:
        yield f"  … {len(entries) - _LISTED_MAX} more; --json has all"


def _compact(value: Any) -> str:
    return one_line(msgspec.json.encode(value).decode())


# --- an agent's story ------------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """One line of a story: an event, or a run of routine from ``position`` to ``until``."""

    position: int
    until: int
    at: str
    by: str
    type: str
    text: str


class _Routine:
    """Reports and holds in a row, added up."""

    def __init__(self) -> None:
        self.reports = self.holds = self.first = self.until = 0
        self.at = ""
        self.used = [0, 0, 0]

    def add(self, event: e.Event) -> None:
        if not self.first:
            self.first, self.at = event.position, shown_time(event.at)
        self.until = event.position
        if isinstance(event, e.UsageReported | e.HoldSettled):
            self.reports += 1
            for d, units in enumerate((event.tokens, event.time_ms, event.cost_nanos)):
                self.used[d] += units
        elif isinstance(event, e.HoldPlaced):
            self.holds += 1

    def told(self) -> Iterator[Entry]:
        """What was added up, if anything was."""
        if self.first:
            spent = amounts((self.used[0] or None, self.used[1] or None, self.used[2] or None))
            parts = [
                f"{count} {what}{'s' if count != 1 else ''}"
                for count, what in ((self.reports, "report"), (self.holds, "hold"))
                if count
            ]
            text = f"{' and '.join(parts) or 'signs of life'}: {spent} used"
            yield Entry(self.first, self.until, self.at, "", "routine", text)


def _story(store: Store, agent: str) -> Iterator[Entry]:
    """What happened to an agent, in order."""
    last = store.last()
    replay, routine = Replay(), _Routine()
    accounts = replay.ledger.accounts
    for record in counted(store.read(), 0 if last is None else last.position, "replaying"):
        event = replay.prove(record)
        replay.apply(event)
        is_open = agent in accounts or replay.ledger.tasks.is_open(agent)
        if not _concerns(event, agent) and not (type(event) in _OF_THE_FLEET and is_open):
            continue
        if isinstance(event, _ROUTINE) and not getattr(event, "unpriced", False) and not getattr(event, "late", False):
            routine.add(event)
            continue
        yield from routine.told()
        routine = _Routine()
        yield Entry(
            event.position, event.position, shown_time(event.at), event.by, STORED_NAME[type(event)], sentence(event)
        )
    yield from routine.told()


def _concerns(event: e.Event, agent: str) -> bool:
    return any(
        getattr(event, field, None) == agent
        for field in ("agent", "source", "target", "parent", "charged", "task", "beneficiary")
    )
