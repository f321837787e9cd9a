"""One event with all that surrounds it: the rule with its numbers, who asked for it, and what led to it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from tallystick.events import catalog as e
from tallystick.events.catalog import STORED_NAME
from tallystick.events.log.codec import exchange_of
from tallystick.events.log.reading import event_of
from tallystick.events.log.replaying import Replay
from tallystick.events.log.store import Record, Store
from tallystick.explain.enforcement import behind_action
from tallystick.explain.history import History
from tallystick.explain.rows import causes, sentence, why
from tallystick.projections.views.view import Progress
from tallystick.wording import one_line

_LISTED_MAX: Final = 40
_HEAD: Final = frozenset({"type", "position", "at", "id", "by"})


class NoSuchPosition(LookupError):
    """The log does not reach there; the text names the positions that it has."""


def explain_position(store: Store, position: int, progress: Progress) -> dict[str, Any]:
    """Everything about one event, in plain values. The log is proved up to it.

    Raises:
        NoSuchPosition: there is none.
        BrokenChain: a record up to there is not what was written.
    """
    last = store.last()
    end = 0 if last is None else last.position
    if not 1 <= position <= end:
        raise NoSuchPosition(f"there is no position {position}: the log has positions 1 to {end}")
    first, until = _command_around(store, position, end)
    replay, history = Replay(), History()
    explained: dict[str, Any] = {}
    positions: list[int] = []
    together = []
    for record in progress(store.read(0, until), until):
        event = replay.prove(record)
        if event.position == position:
            positions = causes(event, replay.ledger, history)
        replay.apply(event)
        history.fold(event)
        if event.position >= first:
            together.append({"position": event.position, "type": STORED_NAME[type(event)], "text": sentence(event)})
        if event.position == position:
            explained = facts(event, record.name) | {"why": why(event, replay.ledger, history), "led_to_by": []}
    exchange = exchange_of(_there(store, first).data)
    if bytes(exchange.command) and bytes(exchange.reply):
        explained["command"] = msgspec.json.decode(exchange.command)
        explained["reply"] = reply = msgspec.json.decode(exchange.reply)
        if bytes(exchange.peer):
            explained["peer"] = msgspec.json.decode(exchange.peer)
        if exchange.trace:
            explained["trace"] = exchange.trace
        answer = reply.get("ok") or {}
        found = behind_action(answer.get("decided_by"), answer.get("agent", ""), replay.ledger, history)
        positions += [place for place in found if place is not None]
    explained["caused_together"] = together
    explained["led_to_by"] = [
        {"position": place, "text": _sentence_at(store, place)} for place in sorted(set(positions)) if place < first
    ]
    return explained


def facts(event: e.Event, stored: str) -> dict[str, Any]:
    """One event in plain values: its stored name, its head, what it says, and its own fields."""
    fields = {name: value for name, value in msgspec.to_builtins(event).items() if name not in _HEAD}
    return {
        "position": event.position,
        "at": event.at.isoformat().replace("+00:00", "Z"),
        "type": stored,
        "kind": event.kind,
        "id": event.id,
        "by": event.by,
        "text": sentence(event),
        "event": fields,
    }


def _there(store: Store, position: int) -> Record:
    record = store.record(position)
    assert record is not None, "the log has no gaps: it was just proved"
    return record


def _sentence_at(store: Store, position: int) -> str:
    return sentence(event_of(_there(store, position)))


# --- the command around it -------------------------------------------------------------------------------------------


class _Origin(msgspec.Struct):
    id: str = ""
    at: str = ""


_origin = msgspec.json.Decoder(_Origin).decode


def _command_around(store: Store, position: int, end: int) -> tuple[int, int]:
    """The first and the last position of what one command caused, or the clock at one moment."""
    first = until = position
    origin = _origin_at(store, position)
    while first > 1 and not _begins(store, first) and _origin_at(store, first - 1) == origin:
        first -= 1
    while until < end and _origin_at(store, until + 1) == origin and not _begins(store, until + 1):
        until += 1
    return first, until


def _origin_at(store: Store, position: int) -> _Origin:
    return _origin(_there(store, position).data)


def _begins(store: Store, position: int) -> bool:
    """Whether a record is its command's first."""
    return bool(bytes(exchange_of(_there(store, position).data).command))


# --- as text ---------------------------------------------------------------------------------------------------------


def paragraphs(explained: Mapping[str, Any]) -> Iterator[str]:
    """What `explain_position` found, line by line."""
    yield f"position {explained['position']}  {explained['at']}  {explained['type']} (a {explained['kind']})"
    yield f"  {one_line(explained['text'])}"
    if explained["why"]:
        yield "\nwhy"
        yield from (f"  {one_line(line)}" for line in explained["why"])
    yield "\nwho asked"
    if "command" in explained:
        yield f"  {one_line(explained['by'])}, with the id {one_line(explained['id'])}:"
        if "peer" in explained:
            yield f"  from {_peer(explained['peer'])}"
        if "trace" in explained:
            yield f"  in the trace {one_line(explained['trace'])}"
        yield f"  {_compact(explained['command'])}"
        yield "and was answered"
        yield f"  {_compact(explained['reply'])}"
    else:
        yield f"  no request: the {one_line(explained['by'])} recorded it when it was due"
    if len(explained["caused_together"]) > 1:
        yield "\nrecorded together, in this order"
        yield from _listed(explained["caused_together"], explained["position"])
    if explained["led_to_by"]:
        yield "\nwhat led to it"
        yield from _listed(explained["led_to_by"], None)


def _listed(entries: list[dict[str, Any]], marked: int | None) -> Iterator[str]:
    """Entries with their positions; of very many, those around the marked one."""
    place = next((i for i, entry in enumerate(entries) if entry["position"] == marked), 0)
    start = max(0, min(place - _LISTED_MAX // 2, len(entries) - _LISTED_MAX))
    for entry in entries[start : start + _LISTED_MAX]:
        mark = "→" if entry["position"] == marked else " "
        yield f"{mark} {entry['position']:>8}  {one_line(entry['text'])}"
    if len(entries) > _LISTED_MAX:
        yield f"  … {len(entries) - _LISTED_MAX} more; --json has all"


def _peer(peer: Mapping[str, Any]) -> str:
    """Another process that asked, by what the system has said of it, or a caller over HTTP."""
    if "user" not in peer:
        key = f" with the key {peer['key']}" if "key" in peer else ""
        return one_line(f"HTTP: address {peer.get('address') or 'unknown'}{key}")
    user = peer["user"] or (f"number {peer['uid']}" if peer["uid"] is not None else "unknown")
    process = "unknown" if peer["process"] is None else peer["process"]
    return one_line(f"another process: user {user}, process {process}")


def _compact(value: Any) -> str:
    return one_line(msgspec.json.encode(value).decode())
