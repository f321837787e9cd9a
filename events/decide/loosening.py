"""What loosens a limit: where the fleet has an operator's key, another process needs it for these messages.

One table over all messages (`ALWAYS`, `BY_STATE`, and all others never), and one over the settings that `LoadConfig`
may change (`tightening.TIGHTENS`): a change that is not known to tighten loosens.
"""

import hmac
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from tallystick.config.amounts import InvalidAmount, exact_units
from tallystick.config.errors import ConfigError
from tallystick.config.loader import changed
from tallystick.config.settings import Config
from tallystick.events import messages as c
from tallystick.events.decide.operate import config_total
from tallystick.events.decide.spelling import is_known
from tallystick.events.decide.tightening import loosened
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.ledger import Ledger

_PREFIX: Final = "sha256:"

ALWAYS: Final[Mapping[type[c.Command], str]] = {
    c.Resume: "ends a stop or a throttle",
    c.ResumeAll: "ends the pause",
    c.OverridePriority: "changes which tasks come first",
    c.ResetBreaker: "closes the circuit breaker",
    c.ReleaseReserve: "opens the reserve",
    c.AcceptClock: "moves time ahead, and with it the windows of limits",
    c.CorrectUsage: "replaces what was recorded as used",
    c.CreateKey: "lets somebody in",
}
"""What these do, whatever the state."""


def refusal_of(ledger: Ledger, command: c.Command, asked: bytes, key: str | None) -> p.RefuseLoosening | None:
    """What is to be decided in place of a message of another process; None where it may be decided itself.

    ``key`` is the SHA-256, in hex, of the key that was shown.
    """
    needed = ledger.rules.config.control.operator_key if ledger.configured else None
    if needed is None or hmac.compare_digest(needed, f"{_PREFIX}{key}"):
        return None
    what = loosens(ledger, command)
    if what is None:
        return None
    id = c.internal_id(f"keyless-{ledger.position}")
    return p.RefuseLoosening(asked=msgspec.json.decode(asked), loosens=what, shown=key is not None, id=id)


def refuse_loosening(turn: Turn, command: p.RefuseLoosening) -> Refusal:
    """Refuse; the id of the message stays free, so that it can be sent again with the key."""
    found = "and another one was shown" if command.shown else "and none was shown"
    detail = f"{command.asked['type']} {command.loosens}: that needs the operator's key, {found}"
    return Refusal("operator_key_needed", detail, {"loosens": command.loosens, "key_shown": command.shown})


def loosens(ledger: Ledger, command: c.Command) -> str | None:
    """Which limit a message loosens, in words, as the state is; None where it loosens none."""
    by_state = BY_STATE.get(type(command))
    return ALWAYS.get(type(command)) if by_state is None else by_state(ledger, command)


def _set_total_budget(ledger: Ledger, command: c.SetTotalBudget) -> str | None:
    change, total = command.budget, ledger.total
    given = (change.tokens, change.time_seconds, change.cost_usd)
    try:
        for d, value in enumerate(given):
            there = total[d]
            if value is msgspec.UNSET or there is None:
                continue
            if value is None or exact_units(value, d, "budget") > there:
                return "raises the total"
    except InvalidAmount:
        pass  # it is refused for what it is
    return None


def _throttle(ledger: Ledger, command: c.Throttle) -> str | None:
    account = ledger.accounts.get(command.agent)
    if account is None or account.throttle is None or not command.rate.is_finite():
        return None
    return "lets a throttled agent go faster" if command.rate > account.throttle else None


def _approve_limit(ledger: Ledger, command: c.ApproveLimit) -> str | None:
    """To end a raise loosens nothing."""
    values = () if command.max is None else msgspec.structs.astuple(command.max)
    raised = [one for one in (command.max_cost_usd, command.max_tokens_total, *values) if one is not None]
    return "raises a limit" if any(one is not msgspec.UNSET for one in raised) else None


def _load_config(ledger: Ledger, command: c.LoadConfig) -> str | None:
    before = ledger.rules.loaded
    try:
        after = changed(before, command.config, partial(is_known, ledger))
    except ConfigError:
        return None  # it is refused for what it is
    if _raises_total(ledger, before, after):
        return "loosens total_budget"
    key = loosened(before, after)
    return None if key is None else f"changes {key}, and not to what is known to be stricter"


def _raises_total(ledger: Ledger, before: Config, after: Config) -> bool:
    """Whether a total that changes is above the one in force, which a message may have set."""
    for known, wanted, *now in zip(config_total(before), config_total(after), ledger.total, ledger.budget, strict=True):
        if wanted != known and any(there is not None and (wanted is None or wanted > there) for there in now):
            return True
    return False


BY_STATE: Final[Mapping[type[c.Command], Callable[[Ledger, Any], str | None]]] = {
    c.SetTotalBudget: _set_total_budget,
    c.Throttle: _throttle,
    c.ApproveLimit: _approve_limit,
    c.LoadConfig: _load_config,
}
"""What these do depends on what they say, and on what is in force."""
