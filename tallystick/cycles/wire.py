"""The requests of the Cycles protocol, and how a body is read as one of them."""

from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from tallystick.http.reading import Unreadable

UNITS: Final = ("USD_MICROCENTS", "TOKENS")
"""The units of the protocol that a fleet counts in."""
_INT64: Final = 2**63 - 1
_DAY_MS: Final = 86_400_000

Key = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
LEVEL: Final = r"\A[a-zA-Z0-9_.-]+\Z"
Level = Annotated[str, msgspec.Meta(pattern=LEVEL, max_length=128)]
"""The name of a tenant, a workspace and so on: ``:`` and ``/`` part the levels of a scope."""
Whole = Annotated[int, msgspec.Meta(ge=0, le=_INT64)]
Metadata = dict[str, Any]
Policy = Literal["REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT"]


class Request(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What every request has: its key, under which it is carried out once."""

    idempotency_key: Key


class Amount(msgspec.Struct, forbid_unknown_fields=True):
    """So many units; whether a fleet counts in this unit is looked at later, as the protocol has a code for that."""

    unit: Literal["USD_MICROCENTS", "TOKENS", "CREDITS", "RISK_POINTS"]
    amount: Whole


class Subject(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Who spends: at least one level. ``dimensions`` are labels of the user's own."""

    tenant: Level | None = None
    workspace: Level | None = None
    app: Level | None = None
    workflow: Level | None = None
    agent: Level | None = None
    toolset: Level | None = None
    dimensions: Annotated[dict[str, Annotated[str, msgspec.Meta(max_length=256)]], msgspec.Meta(max_length=16)] = {}


class Action(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be done: its kind, such as ``llm.completion``, and who or what does it, such as a model."""

    kind: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    name: Annotated[str, msgspec.Meta(max_length=256)]
    tags: Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=10)] = []


class Metrics(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a client measured. Only ``actual`` is charged: these figures are kept beside it."""

    tokens_input: Whole | None = None
    tokens_output: Whole | None = None
    latency_ms: Whole | None = None
    model_version: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    custom: Metadata | None = None


class Decide(Request):
    """May this be done? Nothing is reserved."""

    subject: Subject
    action: Action
    estimate: Amount
    metadata: Metadata | None = None


class Create(Decide):
    """Reserve an estimate, for ``ttl_ms``; a commit is taken for ``grace_period_ms`` more."""

    ttl_ms: Annotated[int, msgspec.Meta(ge=1_000, le=_DAY_MS)] = 60_000
    grace_period_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 5_000
    overage_policy: Policy = "ALLOW_IF_AVAILABLE"
    dry_run: bool = False


class Commit(Request):
    """Replace a reservation by what was used."""

    actual: Amount
    metrics: Metrics | None = None
    metadata: Metadata | None = None


class Release(Request):
    """Give a reservation back unused."""

    reason: Annotated[str, msgspec.Meta(max_length=256)] | None = None


class Extend(Request):
    """Let a reservation last longer, from when it would expire."""

    extend_by_ms: Annotated[int, msgspec.Meta(ge=1, le=_DAY_MS)]
    metadata: Metadata | None = None


class Event(Request):
    """Book what was used without a reservation. ``client_time_ms`` is only the client's word: the server's counts."""

    subject: Subject
    action: Action
    actual: Amount
    overage_policy: Policy = "ALLOW_IF_AVAILABLE"
    metrics: Metrics | None = None
    client_time_ms: Whole | None = None
    metadata: Metadata | None = None


class _Head(msgspec.Struct):
    idempotency_key: Any = None


Asked = TypeVar("Asked", bound=Request)


def read(body: bytes, kind: type[Asked]) -> Asked:
    """A body as a request.

    Raises:
        Unreadable: it is none.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise invalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise invalid(f"not JSON: {error}") from error


def check_key(body: bytes, header: str | None) -> None:
    """Refuse a key in ``X-Idempotency-Key`` that is not that of the body.

    Raises:
        Unreadable: it is another.
    """
    if header is None:
        return
    try:
        key = msgspec.json.decode(body, type=_Head).idempotency_key
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return  # what is wrong with it is said where requests are read
    if key != header:
        raise invalid(f"X-Idempotency-Key: found {header!r:.100}, but idempotency_key is {key!r:.100}")


def invalid(detail: str) -> Unreadable:
    """A request that is wrong in itself."""
    return Unreadable("invalid_message", detail, 400)
