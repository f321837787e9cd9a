"""Reservations: created, committed, released and extended as holds; and what a reservation is read back as."""

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from tallystick.cycles import notes
from tallystick.cycles.asking import RESERVATION, Asking, Json, Who, digest, first_id, owner_of
from tallystick.cycles.budgets import Budgets, not_below, questions
from tallystick.cycles.errors import (
    EXPIRED,
    FINALIZED,
    INVALID,
    MISMATCH,
    NOT_FOUND,
    TENANT_CLOSED,
    UNIT_MISMATCH,
    Fault,
    fault_of,
)
from tallystick.cycles.subjects import accounts_of, labels_of, path_of, scopes_of, subject_of
from tallystick.cycles.units import Named, as_ours, of, unit_of
from tallystick.cycles.wire import Amount, Commit, Create, Extend, Release, Subject

ATTEMPTS: Final = 16
"""Under how many ids of ours one key is tried, where there was room again after it was refused."""
_MAY_PASS: Final = ("budget_exhausted", "limit_reached", "daily_limit_reached", "throttled", "paused", "agent_stopped")
"""Refusals that may be none a moment later."""
STATUS: Final = {"open": "ACTIVE", "settled": "COMMITTED", "cancelled": "RELEASED", "expired": "EXPIRED"}
"""What the protocol calls the states of a hold."""


class Plan(NamedTuple):
    """What is to be set aside: for whom, how much in which unit, and the message, without its agent and id."""

    subject: Subject
    scopes: list[str]
    amount: Amount
    message: Json

    @classmethod
    def of(cls, subject: Subject, amount: Amount, kind: str, **more: Any) -> "Plan":
        """To set an amount aside for a subject that its sender may act for.

        Raises:
            UnitMismatch, AmountTooLarge: a fleet cannot count it.
            Unreadable: the subject has no level, or more than a hold may keep.
        """
        message = {"type": "Reserve", "estimate": as_ours(amount), "operation": kind, "labels": labels_of(subject)}
        return cls(subject, scopes_of(subject), amount, {**message, **more})

    def is_of(self, hold: Mapping[str, Any]) -> bool:
        """Whether a hold was placed by this plan."""
        unit = unit_of(hold["placed"])
        same = (unit, of(hold["placed"], unit)) == (self.amount.unit, self.amount.amount)
        return same and all(hold.get(name) == self.message.get(name) for name in ("labels", "operation", "reason"))


class Placed(NamedTuple):
    """A hold that was placed: its id; its status where it was there before; and the answers to what followed it."""

    id: str
    answers: list[Json]
    before: Json | None = None


class Reservations:
    """The reservations of one fleet."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # --- creating -----------------------------------------------------------------------------------------------------

    async def create(self, who: Who, asked: Create) -> Json:
        """``POST /v1/reservations``: a hold of the narrowest account of the subject.

        Raises:
            Fault: it is refused; nothing is reserved.
        """
        plan = plan_of(who, asked)
        await self._asking.check_may_spend(who, plan.message, plan.scopes)
        if asked.estimate.amount == 0:
            raise Fault(INVALID, "estimate.amount: found 0, allowed is more than 0: nothing is reserved by nothing")
        placed = await self.place(who, plan, first_id(RESERVATION, owner_of(plan.scopes[0]), asked.idempotency_key))
        if placed.before is not None:
            return _created(placed.id, plan, _first_expiry(placed.before, asked), self._left(placed.before, asked))
        expires = _ms(placed.answers[0]["ok"]["expires_at"]) - asked.grace_period_ms
        return _created(placed.id, plan, expires, max(0, expires - self._asking.now_ms()))

    def _left(self, hold: Mapping[str, Any], asked: Create) -> int:
        """How many milliseconds a reservation lasts still, by its first expiry; 0 where it is over."""
        if hold["state"] != "open":
            return 0
        return max(0, _first_expiry(hold, asked) - self._asking.now_ms())

    async def place(self, who: Who, plan: Plan, base: str, follow: Sequence[Json] = ()) -> Placed:
        """Place a hold under a key, once: who comes with the same again gets the hold that there is.

        A refusal is final for an id of ours. So that a key may be tried again when there is room, it has several. The
        messages of ``follow`` have the id of the hold, and come directly behind it.

        Raises:
            Fault: it is refused, or the key was used for something else.
        """
        for attempt in range(ATTEMPTS):
            id = f"{base}-{attempt}" if attempt else base
            hold, budgets = await self._look(id, accounts_of(plan.scopes))
            if hold is not None:
                if not plan.is_of(hold):
                    raise Fault(MISMATCH, "idempotency_key: it was used before for another request")
                return Placed(id, [], hold)
            message = {**plan.message, "agent": await self._payer(budgets, plan)}
            hold_and_more = [{**message, "id": id}, *({**one, "hold": id, "id": f"{id}-use"} for one in follow)]
            answers = await self._asking.ask_together(who, hold_and_more)
            if "ok" in answers[0]:
                return Placed(id, answers)
            refusal = answers[0]["error"]
            if refusal["code"] in _MAY_PASS:
                # It may have been refused a while ago: what counts is now.
                now = await self._asking.ask(who, {**message, "dry_run": True})
                refusal = now.get("error")
            if refusal is not None:
                raise budgets.refused(refusal, plan.amount.unit)
        text = f"idempotency_key: it was refused {ATTEMPTS} times, and there was room each time after: use a new one"
        raise Fault(MISMATCH, text)

    async def _look(self, id: str, scopes: list[str]) -> tuple[Json | None, Budgets]:
        """The hold with this id, if there is one, and how scopes stand."""
        answers = await self._asking.look([{"type": "GetHolds", "hold": id}, *questions(scopes)])
        hold = answers[0]["ok"]["holds"][0] if "ok" in answers[0] else None
        return hold, Budgets(scopes, answers[1:])

    async def _payer(self, budgets: Budgets, plan: Plan) -> str:
        """The account that a use is charged to. All accounts of the subject's other scopes must be above it."""
        account = budgets.check(plan.scopes[-1], plan.amount.unit)
        apart = budgets.apart()
        if apart is not None and not await self._is_below(*apart):
            raise not_below(*apart)
        return account

    async def _is_below(self, account: str, wider: str) -> bool:
        at: str | None = account
        while at is not None and at != wider:
            (answer,) = await self._asking.look([{"type": "GetStatus", "agent": at}])
            at = answer["ok"]["parent"] if "ok" in answer else None
        return at == wider

    async def payer(self, plan: Plan) -> str:
        """The account that a use of a subject is charged to, and all above it.

        Raises:
            Fault: there is none.
        """
        return await self._payer(await self.budgets(plan.scopes), plan)

    async def budgets(self, scopes: list[str]) -> Budgets:
        """How the accounts of scopes stand."""
        within = accounts_of(scopes)
        return Budgets(within, await self._asking.look(questions(within)))

    async def tried(self, who: Who, plan: Plan) -> Fault | None:
        """What would refuse it now; None where nothing would. Nothing is reserved.

        Raises:
            Fault: its sender may not.
        """
        budgets = await self.budgets(plan.scopes)
        message = {**plan.message, "agent": await self._payer(budgets, plan), "dry_run": True}
        if plan.amount.amount == 0:
            # Nothing cannot be held; that the least can is what is asked.
            message["estimate"] = as_ours(Amount(plan.amount.unit, 1))
        answer = await self._asking.ask(who, message)
        return budgets.refused(answer["error"], plan.amount.unit) if "error" in answer else None

    # --- a reservation that there is ----------------------------------------------------------------------------------

    async def commit(self, who: Who, id: str, asked: Commit) -> Json:
        """``POST …/commit``: what was used replaces the hold.

        Raises:
            Fault: the reservation is over, or rejects more than it has.
        """
        used = as_ours(asked.actual)
        async with self._lock(id):
            hold = await self.find(who, id)
            unit = unit_of(hold["placed"])
            if asked.actual.unit != unit:
                text = f"actual.unit: found {asked.actual.unit}, and the reservation is in {unit}"
                raise Fault(UNIT_MISMATCH, text, {"requested_unit": asked.actual.unit, "expected_units": [unit]})
            if hold["state"] in ("cancelled", "expired"):
                raise await self._over(hold)
            message: Json = {"type": "Settle", "id": _id_of("commit", id, asked.idempotency_key), "hold": id}
            message |= {"usage": used, "operation": hold["operation"], "reason": notes.of_commit(asked)}
            if unit == "USD_MICROCENTS" and asked.metrics is not None and asked.metrics.model_version:
                message["model"] = asked.metrics.model_version
            answer = await self._asking.ask(who, {name: value for name, value in message.items() if value is not None})
            if "error" in answer:
                raise await self._refusal(hold, answer["error"])
        placed, actual = of(hold["placed"], unit), asked.actual.amount
        body: Json = {"status": "COMMITTED", "charged": Named(unit, actual).shown()}
        if placed > actual:
            body["released"] = Named(unit, placed - actual).shown()
        return body

    async def release(self, who: Who, id: str, asked: Release) -> Json:
        """``POST …/release``: the hold is given back.

        Raises:
            Fault: the reservation is over.
        """
        async with self._lock(id):
            hold = await self.find(who, id)
            if hold["state"] in ("settled", "expired"):
                raise await self._over(hold)
            message = {"type": "CancelHold", "id": _id_of("release", id, asked.idempotency_key), "hold": id}
            answer = await self._asking.ask(who, {**message, **({"reason": asked.reason} if asked.reason else {})})
            if "error" in answer:
                raise await self._refusal(hold, answer["error"])
        unit = unit_of(hold["placed"])
        return {"status": "RELEASED", "released": Named(unit, of(hold["placed"], unit)).shown()}

    async def extend(self, who: Who, id: str, asked: Extend) -> Json:
        """``POST …/extend``: the hold lasts longer, from when it would expire.

        Raises:
            Fault: the reservation is over.
        """
        async with self._lock(id):
            hold = await self.find(who, id)
            grace = _kept(hold).grace_period_ms
            if hold["state"] == "open" and self._asking.now_ms() > _ms(hold["expires_at"]) - grace:
                raise Fault(EXPIRED, f"reservation {id} has expired; until its grace period ends it can be committed")
            message = {"type": "Heartbeat", "id": _id_of("extend", id, asked.idempotency_key), "hold": id}
            longer = f"{asked.extend_by_ms // 1000}.{asked.extend_by_ms % 1000:03d}"
            answer = await self._asking.ask(who, {**message, "extend_seconds": longer})
            if "error" in answer:
                raise await self._refusal(hold, answer["error"])
        expires = _ms(answer["ok"]["expires_at"]) - grace
        left = max(0, expires - self._asking.now_ms()) if hold["state"] == "open" else 0
        return {"status": "ACTIVE", "expires_at_ms": expires, "remaining_ttl_ms": left}

    async def get(self, who: Who, id: str) -> Json:
        """``GET /v1/reservations/{id}``.

        Raises:
            Fault: there is none, or it has expired.
        """
        hold = await self.find(who, id)
        if hold["state"] == "expired":
            raise Fault(EXPIRED, f"reservation {id} has expired")
        return detail(hold)

    async def find(self, who: Who, id: str) -> Json:
        """The hold of a reservation.

        Raises:
            Fault: there is none, or it is another tenant's.
        """
        if not id.startswith(f"{RESERVATION}-"):
            raise Fault(NOT_FOUND, f"reservation {id[:128]!r} is not known")
        answer = await self._asking.ask(who, {"type": "GetHolds", "hold": id})
        if "error" in answer:
            fault = fault_of(answer["error"])
            raise Fault(NOT_FOUND, f"reservation {id!r} is not known") if fault.code == NOT_FOUND else fault
        hold: Json = answer["ok"]["holds"][0]
        _kept(hold)
        if hold["state"] == "open" and self._asking.now_ms() > _ms(hold["expires_at"]):
            # The fleet ends it at the next moment in which it does anything.
            return {**hold, "state": "expired", "ended_at": hold["expires_at"]}
        return hold

    async def _refusal(self, hold: Mapping[str, Any], error: Mapping[str, Any]) -> Fault:
        if error["code"] in ("hold_ended", "already_settled"):
            now = {**hold, "state": error["ended"]} if error.get("ended") in STATUS else hold
            return await self._over(now)
        return fault_of(error)

    async def _over(self, hold: Mapping[str, Any]) -> Fault:
        """Why nothing more can be done with a reservation that is over."""
        tenant = path_of(hold["labels"])[0]
        (status,) = await self._asking.look([{"type": "GetStatus", "agent": tenant}])
        if "error" in status and status["error"]["code"] == "already_released" and tenant.startswith("tenant:"):
            return Fault(TENANT_CLOSED, f"{tenant} was released", {"scope": tenant})
        state = hold["state"]
        if state == "expired":
            return Fault(EXPIRED, f"reservation {hold['hold']} has expired")
        return Fault(FINALIZED, f"reservation {hold['hold']} is {STATUS[state]}", {"status": STATUS[state]})

    def _lock(self, id: str) -> asyncio.Lock:
        """Held while one request looks at a reservation and changes it."""
        lock = self._locks.get(id)
        if lock is None:
            lock = self._locks[id] = asyncio.Lock()
        return lock


def plan_of(who: Who, asked: Create) -> Plan:
    """What a request to reserve asks for.

    Raises:
        Fault: its sender may not act for the subject.
        UnitMismatch, AmountTooLarge: a fleet cannot count it.
        Unreadable: it has no level, or more than a hold may keep.
    """
    subject = who.effective(asked.subject)
    seconds = (asked.ttl_ms + asked.grace_period_ms) / 1_000
    overage = "reject" if asked.overage_policy == "REJECT" else "book"
    more = {"ttl_seconds": f"{seconds:.3f}", "overage": overage, "reason": notes.of_reservation(asked)}
    return Plan.of(subject, asked.estimate, asked.action.kind, **more)


# --- as the protocol writes them --------------------------------------------------------------------------------------


def detail(hold: Mapping[str, Any]) -> Json:
    """A hold as a reservation."""
    kept, labels, unit = _kept(hold), hold["labels"], unit_of(hold["placed"])
    scopes = path_of(labels)
    action: Json = {"kind": hold["operation"], "name": kept.name}
    if kept.tags:
        action["tags"] = kept.tags
    found: Json = {
        "reservation_id": hold["hold"],
        "status": STATUS[hold["state"]],
        "subject": subject_of(labels),
        "action": action,
        "reserved": Named(unit, of(hold["placed"], unit)).shown(),
        "created_at_ms": _ms(hold["placed_at"]),
        "expires_at_ms": _expiry(hold, kept),
        "scope_path": scopes[-1],
        "affected_scopes": scopes,
    }
    if kept.metadata is not None:
        found["metadata"] = kept.metadata
    if hold["state"] in ("settled", "cancelled"):
        found["finalized_at_ms"] = _ms(hold["ended_at"])
    if hold["state"] == "settled":
        found["committed"] = Named(unit, of(hold["booked"], unit)).shown()
        said = notes.committed(hold.get("ended_reason")).metadata
        if said is not None:
            found["committed_metadata"] = said
    return found


def is_reservation(hold: Mapping[str, Any]) -> bool:
    """Whether a hold was made by this protocol."""
    return bool(hold.get("labels")) and notes.reserved(hold.get("reason")) is not None


def _kept(hold: Mapping[str, Any]) -> notes.Reserved:
    kept = notes.reserved(hold.get("reason"))
    if kept is None or not hold.get("labels"):
        raise Fault(NOT_FOUND, f"reservation {hold['hold']!r} is not known")
    return kept


def _expiry(hold: Mapping[str, Any], kept: notes.Reserved) -> int:
    """When it expires; of one that has ended without expiring, as it was first granted."""
    if hold["state"] == "open":
        return _ms(hold["expires_at"]) - kept.grace_period_ms
    if hold["state"] == "expired":
        return _ms(hold["ended_at"]) - kept.grace_period_ms
    return _ms(hold["placed_at"]) + kept.ttl_ms


def _first_expiry(hold: Mapping[str, Any], asked: Create) -> int:
    return _ms(hold["placed_at"]) + asked.ttl_ms


def _created(id: str, plan: Plan, expires_ms: int, left_ms: int) -> Json:
    return {
        "decision": "ALLOW",
        "reservation_id": id,
        "reserved": {"unit": plan.amount.unit, "amount": plan.amount.amount},
        "expires_at_ms": expires_ms,
        "remaining_ttl_ms": left_ms,
        "scope_path": plan.scopes[-1],
        "affected_scopes": plan.scopes,
    }


def _id_of(kind: str, reservation: str, key: str) -> str:
    return f"{kind}-{digest(reservation, key)}"


def _ms(stamp: str) -> int:
    return round(dt.datetime.fromisoformat(stamp).timestamp() * 1_000)
