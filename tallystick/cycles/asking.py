"""Who asks, and how a fleet is asked in its name: the tenant of a key, and the scope that it may act in."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from starlette.requests import Request

from tallystick.actors.runtime.intake import Asker
from tallystick.actors.runtime.pending import ANSWER_SECONDS
from tallystick.cycles.errors import FORBIDDEN, Fault, fault_of
from tallystick.cycles.subjects import is_within, scopes_of, segments
from tallystick.cycles.wire import Subject
from tallystick.events import messages as c
from tallystick.events.decide.permissions import MESSAGES
from tallystick.http.access import FleetAccess
from tallystick.http.identity import BY, asker_of, identity_of

Json = dict[str, Any]
_SPENDING: Final = MESSAGES[c.Reserve].roles | {"agent"}


class Fleet(Protocol):
    """What the protocol needs of a fleet."""

    @property
    def access(self) -> FleetAccess: ...
    async def ask_async(
        self,
        message: Any,
        by: str = "local",
        timeout: float = ANSWER_SECONDS,  # noqa: ASYNC109 - as the fleet itself
        *,
        asker: Asker | None = None,
    ) -> Any: ...


class Who(NamedTuple):
    """Who sends a request. ``within`` is the scope of a key that acts for one, and ``tenant`` that of the scope; both
    are None where it may act for all.
    """

    by: str
    asker: Asker
    tenant: str | None = None
    within: str | None = None

    @property
    def only_reads(self) -> bool:
        """Whether its role reserves and uses nothing, for no subject."""
        caller = self.asker.caller
        return caller is not None and caller.role not in _SPENDING

    @classmethod
    def of(cls, request: Request) -> "Who":
        """Who sends this request."""
        identity = identity_of(request)
        caller, asker = identity.caller, asker_of(request)
        if caller is None or caller.agent is None or caller.role != "agent":
            return cls(identity.by, asker)
        return cls(identity.by, asker, (segments(caller.agent) or {}).get("tenant"), caller.agent)

    def effective(self, subject: Subject) -> Subject:
        """A subject with the tenant of the key.

        Raises:
            Fault: it is of another tenant, or beyond the scope of the key.
            Unreadable: it has no level.
        """
        self.check_tenant(subject.tenant)
        if subject.tenant is None and self.tenant is not None:
            subject = msgspec.structs.replace(subject, tenant=self.tenant)
        path = scopes_of(subject)[-1]
        if self.within is not None and not is_within(path, self.within):
            text = f"subject: this key acts for {self.within}, and {path} is neither that nor below it"
            raise Fault(FORBIDDEN, text)
        return subject

    def check_tenant(self, tenant: str | None) -> None:
        """Refuse another tenant than that of the key.

        Raises:
            Fault: it is another.
        """
        if tenant is not None and self.within is not None and tenant != self.tenant:
            raise Fault(FORBIDDEN, f"tenant: found {tenant}, and this key acts for {self.within}")


class Asking:
    """Asks one fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def now_ms(self) -> int:
        """What time it is for the fleet, in milliseconds since 1970."""
        return int(self._fleet.access.now().timestamp() * 1_000)

    async def look(self, messages: Sequence[Json]) -> list[Json]:
        """The answers to questions of the server's own, one by one. What of them is shown was allowed before."""
        answers: list[Json] = await self._fleet.ask_async(list(messages), BY)
        return answers

    async def ask(self, who: Who, message: Json) -> Json:
        """The answer to a message of somebody, ``{"ok": …}`` or ``{"error": …}``; what he may is decided with it."""
        answer: Json = await self._fleet.ask_async(message, who.by, asker=who.asker)
        return answer

    async def check_may_spend(self, who: Who, message: Json, scopes: Sequence[str]) -> None:
        """Refuse a role that spends nothing, before it learns how anything stands: what was answered to others,
        too. It is the fleet that refuses the ``message``, a ``Reserve``, and records that.

        Raises:
            Fault: it is such a role.
        """
        if who.only_reads:
            replied(await self.ask(who, {**message, "agent": scopes[0]}))

    async def ask_together(self, who: Who, messages: Sequence[Json]) -> list[Json]:
        """The answers to messages that are decided one after the other with nothing in between."""
        answers: list[Json] = await self._fleet.ask_async(list(messages), who.by, asker=who.asker)
        return answers


def replied(answer: Mapping[str, Any]) -> Json:
    """The reply in an answer.

    Raises:
        Fault: it is a refusal.
    """
    if "error" in answer:
        raise fault_of(answer["error"])
    reply: Json = answer["ok"]
    return reply


# --- ids --------------------------------------------------------------------------------------------------------------

RESERVATION = "rsv"


def digest(*parts: str) -> str:
    """32 hex digits of texts that are kept apart."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def owner_of(scope: str) -> str:
    """Whose keys are those of a scope: its tenant's, or without one those of the widest level that it names."""
    return scope.partition("/")[0]


def first_id(kind: str, owner: str, key: str) -> str:
    """The id for the key of an owner. All of an owner begin with `ids_of` it, so that they are one range."""
    return f"{ids_of(kind, owner)}{digest(key)}"


def ids_of(kind: str, owner: str) -> str:
    """How the ids of an owner begin."""
    return f"{kind}-{digest(owner)[:16]}-"
