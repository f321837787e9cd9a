"""What is listed: the balances of scopes, and reservations, in pages."""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, Final

from starlette.datastructures import QueryParams

from tallystick.config.kinds import NAME_MAX
from tallystick.cycles.asking import RESERVATION, Asking, Json, Who, first_id, ids_of, owner_of, replied
from tallystick.cycles.budgets import balances_of, matches, questions
from tallystick.cycles.errors import FORBIDDEN, INVALID, Fault, fault_of
from tallystick.cycles.reservations import ATTEMPTS, STATUS, detail, is_reservation
from tallystick.cycles.subjects import LEVELS, segments
from tallystick.cycles.wire import LEVEL
from tallystick.http.parameters import BadParameter, number

LIMIT, LIMIT_MAX = 50, 200
_PAGE: Final = 200
"""Of how many holds or accounts a fleet is asked at a time."""
_LOOKED_AT: Final = 2_000
"""After so many that do not match, a page ends, however short, and the next one goes on behind them."""
_STATES: Final = {status: state for state, status in STATUS.items()}
_SUMMARY: Final = ("metadata", "committed_metadata")
"""What is listed only where ``include`` names it."""
_WINDOWS: Final = {"": "created_at_ms", "expires_": "expires_at_ms", "finalized_": "finalized_at_ms"}


class Listing:
    """``GET /v1/balances`` and ``GET /v1/reservations`` of one fleet."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    async def balances(self, who: Who, query: QueryParams) -> Json:
        """The balances of all scopes that have the levels asked for, by their paths; children are among them.

        Raises:
            Fault: no level is asked for, or another tenant's.
        """
        wanted = _levels(who, query)
        if not any(query.get(level) for level in LEVELS):
            raise Fault(INVALID, f"the query: found no level, needed is one of {', '.join(LEVELS)}")
        limit, after = _limit(query), query.get("cursor", "")
        top = f"tenant:{wanted['tenant']}" if "tenant" in wanted else None
        scopes: list[str] = []
        if top is not None and after < top:
            scopes, after = [top], top
        more, looked_at = True, 0
        while more and len(scopes) <= limit and looked_at < _LOOKED_AT:
            page = replied(await self._global(who, after))["agent_statuses"]
            found = [status["agent"] for status in page]
            looked_at += len(found)
            # Behind what begins with a slash, nothing of the tenant can follow.
            inside = [scope for scope in found if top is None or scope < f"{top}0"]
            scopes += [scope for scope in inside if "/" in scope or top is None]
            scopes = [scope for scope in scopes if matches(scope, wanted, segments(scope), who.within)]
            more = len(found) == _PAGE and len(inside) == len(found)
            after = found[-1] if found else after
        shown, rest = scopes[:limit], scopes[limit:]
        answer: Json = {"balances": await self._shown(shown), "has_more": bool(rest) or more}
        if answer["has_more"]:
            answer["next_cursor"] = shown[-1] if rest else after
        return answer

    async def _global(self, who: Who, after: str) -> Json:
        """A page of accounts. An agent may not read them all, and is shown its own of them."""
        message = {"type": "GetGlobalStatus", "limit": _PAGE, **({"after": after} if after else {})}
        return (await self._seen(who, [message]))[0]

    async def _seen(self, who: Who, messages: list[Json]) -> list[Json]:
        """The answers to questions of which the sender is shown what it may see.

        Raises:
            Fault: it may see none of them.
        """
        if who.within is not None:
            return await self._asking.look(messages)
        answers = await self._asking.ask_together(who, messages)
        for answer in answers:
            if answer.get("error", {}).get("code") == "access_denied":
                raise fault_of(answer["error"])
        return answers

    async def _shown(self, scopes: list[str]) -> list[Json]:
        if not scopes:
            return []
        found: list[Json] = []
        # A message of questions has at most a thousand of them.
        for start in range(0, len(scopes), _PAGE):
            answers = await self._asking.look(questions(scopes[start : start + _PAGE]))
            for status, limits in zip(answers[::2], answers[1::2], strict=True):
                if "ok" in status and "ok" in limits:
                    found += [one.shown() for one in balances_of(status["ok"], limits["ok"]["limits"])]
        return found

    async def reservations(self, who: Who, query: QueryParams) -> Json:
        """Reservations by their ids, as many as are remembered.

        Raises:
            Fault: another tenant's are asked for, or a parameter is not allowed.
        """
        wanted, limit, windows = _levels(who, query), _limit(query), _windows(query)
        status = query.get("status")
        if status is not None and status not in _STATES:
            raise Fault(INVALID, f"status: found {status[:100]!r}, allowed are {', '.join(_STATES)}")
        include = {token.strip() for token in query.get("include", "").split(",")}
        hidden = [name for name in _SUMMARY if name not in include]

        def row(hold: Mapping[str, Any]) -> Json | None:
            if not is_reservation(hold) or not hold["hold"].startswith(f"{RESERVATION}-"):
                return None
            found = detail(hold)
            if not matches(found["scope_path"], wanted, segments(found["scope_path"]), who.within):
                return None
            if (status is not None and found["status"] != status) or not _is_in(found, windows):
                return None
            return {name: value for name, value in found.items() if name not in hidden}

        key = query.get("idempotency_key")
        if key:
            return {
                "reservations": [one for one in map(row, await self._of_key(who, wanted, key)) if one],
                "has_more": False,
            }
        return await self._page(who, wanted.get("tenant"), status, limit, query.get("cursor", ""), row)

    async def _of_key(self, who: Who, wanted: Mapping[str, str], key: str) -> list[Json]:
        """The reservation that was made under a key."""
        named = [f"{level}:{name}" for level, name in wanted.items()] or [""]
        owner = owner_of(named[0] if who.within is None else who.within)
        base = first_id(RESERVATION, owner, key)
        ids = [base, *(f"{base}-{attempt}" for attempt in range(1, ATTEMPTS))]
        answers = await self._seen(who, [{"type": "GetHolds", "hold": id} for id in ids])
        return [answer["ok"]["holds"][0] for answer in answers if "ok" in answer][:1]

    async def _page(self, who: Who, tenant: str | None, status: str | None, limit: int, cursor: str, row: Any) -> Json:
        begin = f"{RESERVATION}-" if tenant is None else ids_of(RESERVATION, f"tenant:{tenant}")
        after, rows, looked_at, more = max(cursor, begin), list[Json](), 0, True
        state = {} if status is None else {"state": _STATES[status]}
        while more and len(rows) < limit and looked_at < _LOOKED_AT:
            message = {"type": "GetHolds", "limit": _PAGE, "after": after, **state}
            page = replied((await self._seen(who, [message]))[0])
            more = page.get("after") is not None
            for hold in page["holds"]:
                after, looked_at = hold["hold"], looked_at + 1
                if not after.startswith(begin):
                    more = False
                    break
                found = row(hold)
                if found is not None:
                    rows.append(found)
                    if len(rows) == limit:
                        more = more or hold is not page["holds"][-1]
                        break
        answer: Json = {"reservations": rows, "has_more": more}
        if more:
            answer["next_cursor"] = after
        return answer


def _levels(who: Who, query: QueryParams) -> dict[str, str]:
    """The levels that are asked for; the tenant is that of the key."""
    wanted = {level: query[level] for level in LEVELS if query.get(level)}
    for level, name in wanted.items():
        if not re.fullmatch(LEVEL, name) or len(name) > NAME_MAX:
            allowed = f"allowed are 1 to {NAME_MAX} letters, digits and any of _ . -"
            raise Fault(INVALID, f"{level}: found {name[:100]!r}, {allowed}")
    who.check_tenant(wanted.get("tenant"))
    if who.within is not None and segments(who.within) is None:
        raise Fault(FORBIDDEN, f"this key acts for {who.within}, which is no scope")
    if who.tenant is not None:
        wanted["tenant"] = who.tenant
    return wanted


def _limit(query: QueryParams) -> int:
    try:
        return number("limit", query.get("limit", str(LIMIT)), 1, LIMIT_MAX)
    except BadParameter as wrong:
        raise Fault(INVALID, str(wrong)) from wrong


def _windows(query: QueryParams) -> dict[str, tuple[int | None, int | None]]:
    """The windows of time that are asked for, by the field that they bound, in milliseconds."""
    windows: dict[str, tuple[int | None, int | None]] = {}
    for prefix, field in _WINDOWS.items():
        first, last = _moment(query, f"{prefix}from"), _moment(query, f"{prefix}to")
        if first is not None and last is not None and first > last:
            raise Fault(INVALID, f"{prefix}from: found a time behind {prefix}to, allowed is one before it")
        if (first, last) != (None, None):
            windows[field] = first, last
    return windows


def _moment(query: QueryParams, name: str) -> int | None:
    text = query.get(name)
    if not text:
        return None
    try:
        # A space is a plus that was not quoted.
        at = dt.datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Fault(INVALID, f"{name}: found {text[:100]!r}, allowed is a time of RFC 3339 with a zone")
    return int(at.timestamp() * 1_000)


def _is_in(found: Mapping[str, Any], windows: Mapping[str, tuple[int | None, int | None]]) -> bool:
    for field, (first, last) in windows.items():
        at = found.get(field)
        if at is None or (first is not None and at < first) or (last is not None and at > last):
            return False
    return True
