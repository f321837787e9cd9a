"""How a fleet takes up its work: what must be recorded so that its configuration and prices are in force."""

import datetime as dt
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import structlog

from tallystick.actors.errors import NOT_NOW, RefusedConfig, Unanswered
from tallystick.config.loader import changed, named, to_mapping
from tallystick.config.prices import PriceList, load_prices
from tallystick.config.prices import to_mapping as prices_to_mapping
from tallystick.config.published import published_prices
from tallystick.config.settings import Config, Model
from tallystick.events import messages as c
from tallystick.events.catalog import rules_version
from tallystick.events.decide.operate import content_hash
from tallystick.events.messages import proposals as p
from tallystick.events.messages.delegation import HearParent
from tallystick.events.state.delegation import NOT_ASKED
from tallystick.events.state.ledger import Ledger

log = structlog.wrap_logger(logging.getLogger("tallystick.config"))

_OUTAGE = dt.timedelta(minutes=1)
"""A fleet that was closed for less than this is not said to have been away, unless tasks were running."""


def to_put_in_force(
    ledger: Ledger, config: Config | None, prices: PriceList | None, now: dt.datetime
) -> Iterator[c.Command]:
    """What must be recorded so that this configuration and these prices are in force: they are facts.

    Prices that were written are put over those that are published, of the day of ``now``. What is in force already is
    not recorded again; a new fleet gets what is packaged where nothing is given. In one that has begun, what a file
    does not name stays as it is in force: an omission lifts nothing. A log that was decided by an older version of the
    rules goes on by ours. The caller carries each command out before it takes the next: the position makes an id new
    when a configuration comes back that was in force before. Live and simulated fleets use this, so that the same
    messages give the same log.
    """
    if ledger.position and ledger.rules_version < rules_version.RULES_VERSION:
        rules = rules_version.RULES_VERSION
        yield p.AdoptRules(rules=rules, id=c.internal_id(f"rules-{rules}-{ledger.position}"))
    for name in list(ledger.given_up):
        yield p.RecordRestored(specialist=name, id=c.internal_id(f"restored-{name}-{ledger.position}"))
    if ledger.tasks.running or ledger.leases or (ledger.accounts and now - ledger.now > _OUTAGE):
        yield p.OpenFleet(id=c.internal_id(f"opening-{ledger.position}"))
    if ledger.delegation is not None:
        yield HearParent(stopped=NOT_ASKED, id=c.internal_id(f"unasked-{ledger.position}"))
    if not ledger.configured:
        prices = prices or load_prices(None)
        yield load_config(to_mapping(config or Config()), ledger.position)
    elif config is not None and changed(ledger.rules.loaded, named(config)) != ledger.rules.loaded:
        yield load_config(named(config), ledger.position)
    if prices is not None and not prices.published.providers:
        prices = PriceList(prices.written, published_prices(now.astimezone(dt.UTC).date(), _catalogue(ledger, config)))
    if prices is not None and prices != ledger.rules.prices:
        mapping = prices_to_mapping(prices)
        yield p.LoadPrices(**mapping, id=c.internal_id(f"prices-{content_hash(mapping)[:16]}-{ledger.position}"))


def load_config(mapping: dict[str, Any], position: int) -> c.LoadConfig:
    """The fleet's own command that puts a configuration, or a part of one, in force at a position."""
    return c.LoadConfig(config=mapping, id=c.internal_id(f"config-{content_hash(mapping)[:16]}-{position}"))


def logged(answer: Any) -> Any:
    """The answer to a ``LoadConfig``, once what it warns of (``code``, ``key``, ``message``) is in the program log.

    Raises:
        Unanswered: the fleet could not decide it now.
    """
    if answer.get("error", {}).get("code") in NOT_NOW:
        raise Unanswered(answer["error"]["detail"])
    for warning in answer.get("ok", {}).get("warnings", ()):
        log.warning("config_warning", **warning)
    return answer


def accept(answer: Any) -> None:
    """Take the answer to a command that `to_put_in_force` names.

    Raises:
        RefusedConfig: it was refused.
        Unanswered: the fleet could not decide it now.
    """
    if "error" in logged(answer):
        raise RefusedConfig(answer["error"]["detail"])


def _catalogue(ledger: Ledger, config: Config | None) -> Iterable[Model]:
    return (config or ledger.rules.config).models.values()
