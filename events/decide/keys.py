"""Keys of the HTTP service: created, revoked, listed, and noticed where they are shown after their end."""

import datetime as dt
from bisect import bisect_right
from typing import Final

from tallystick.config.amounts import dollars, exact_units
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.answers import stamp
from tallystick.events.decide.spelling import bad_name
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.access_replies import KeyLine, KeyShown, KeysListed, KeyState
from tallystick.events.messages.replies import Done, Refusal
from tallystick.events.state.keys import KEYS_MAX, Key

MISUSE_EVERY: Final = dt.timedelta(hours=1)
"""How often it is recorded that a key is shown which is not valid."""
_COST: Final = 2


def create_key(turn: Turn, command: c.CreateKey) -> KeyShown | Refusal:
    """A new key is valid at once.

    Raises:
        InvalidAmount: a malformed ``approve_up_to_usd``.
    """
    keys = turn.ledger.keys
    ceiling = command.approve_up_to_usd
    nanos = None if ceiling is None else exact_units(ceiling, _COST, "approve_up_to_usd")
    for field, name in (("key", command.key), ("agent", command.agent)):
        wrong = None if name is None else bad_name(turn.ledger, name, field)
        if wrong is not None:
            return wrong
    if command.role == "agent" and command.agent is None:
        return Refusal("invalid_message", "agent: found nothing, needed is the id of the agent that the key acts for")
    if nanos is not None and command.role != "operator":
        return Refusal("invalid_message", f"approve_up_to_usd: only operators approve, and the role is {command.role}")
    expires_at = None if command.expires_at is None else _in_utc(command.expires_at)
    if command.expires_at is not None and (expires_at is None or expires_at <= turn.now):
        return Refusal(
            "invalid_message", f"expires_at: found {command.expires_at}, allowed is a time to come, up to 9999"
        )
    if command.key in keys.by_name or keys.holds(command.sha256):
        return Refusal("already_created", f"the key {command.key!r} was created before: choose another name")
    if keys.valid_count >= KEYS_MAX:
        return Refusal("too_many_keys", f"there are {KEYS_MAX} keys: revoke some", {"keys": KEYS_MAX})
    # Nothing can fail after this line.
    turn.record(
        e.KeyCreated(
            key=command.key,
            role=command.role,
            sha256=command.sha256,
            agent=command.agent,
            expires_at=expires_at,
            approve_up_to_nanos=nanos,
        )
    )
    return _shown(turn, keys.by_name[command.key])


def _in_utc(time: dt.datetime) -> dt.datetime | None:
    """A time in UTC; None where that is before the first year, or after the last one."""
    try:
        return time.astimezone(dt.UTC)
    except OverflowError:
        return None


def revoke_key(turn: Turn, command: c.RevokeKey) -> KeyShown | Refusal:
    """A key ends at once."""
    key = turn.ledger.keys.by_name.get(command.key)
    if key is None:
        return Refusal("unknown_key", f"there is no key {command.key!r}: ListKeys shows them")
    if key.revoked_at is not None:
        return Refusal("already_revoked", f"the key {command.key!r} was revoked at {stamp(key.revoked_at)}")
    turn.record(e.KeyRevoked(key=command.key, reason=command.reason))
    return _shown(turn, key)


def list_keys(turn: Turn, command: c.ListKeys) -> KeysListed:
    """A page of the keys, by name."""
    by_name = turn.ledger.keys.by_name
    names = sorted(by_name)
    first = 0 if command.after is None else bisect_right(names, command.after)
    page = names[first : first + command.limit]
    lines = [_line(turn, by_name[name]) for name in page]
    return KeysListed(lines, page[-1] if page and first + len(page) < len(names) else None)


def record_misuse(turn: Turn, command: p.RecordMisuse) -> Done:
    """A key was shown that is not valid: recorded, where that was not done within the hour."""
    key = turn.ledger.keys.by_name.get(command.key)
    if key is not None and (key.misused_at is None or turn.now >= key.misused_at + MISUSE_EVERY):
        invalid = key.invalid_since(turn.now)
        if invalid is not None:
            turn.record(e.KeyMisused(key=key.name, why="revoked" if invalid[0] == "revoked" else "expired"))
    return Done()


def _state(turn: Turn, key: Key) -> KeyState:
    invalid = key.invalid_since(turn.now)
    if invalid is None:
        return "valid"
    return "revoked" if invalid[0] == "revoked" else "expired"


def _ceiling(key: Key) -> str | None:
    return None if key.approve_up_to_nanos is None else dollars(key.approve_up_to_nanos)


def _shown(turn: Turn, key: Key) -> KeyShown:
    return KeyShown(key.name, key.role, _state(turn, key), key.agent, key.expires_at, _ceiling(key))


def _line(turn: Turn, key: Key) -> KeyLine:
    return KeyLine(
        key.name,
        key.role,
        _state(turn, key),
        key.created_at,
        key.agent,
        key.expires_at,
        key.revoked_at,
        _ceiling(key),
    )
