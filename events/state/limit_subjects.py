"""What a use, a hold or a run says of itself to the limits (see `Subject`), and which it counts in for that."""

from collections.abc import Sequence

from tallystick.config.model_names import PROVIDERS, provider_of
from tallystick.events.catalog import HoldSettled, Said, UsageCorrected, UsageReported
from tallystick.events.state.accounts import Account, Hold
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import KNOWN_MAX, NONE, OTHER, Counted, LimitRule, Subject
from tallystick.events.state.remembered import EndedHold

Units = tuple[int, int, int, int, int, int, int]
"""By measure (see `limit_rules`): tokens, milliseconds, nano-dollars, input, output, requests, and what is open."""


def subject_of(
    ledger: Ledger, account: Account, model: str | None = None, labels: dict[str, str] | None = None
) -> Subject:
    """An open account, with what a message says. The account's labels win over the message's; a run that names no model
    is on that which it was started with.
    """
    if model is None and account.run is not None:
        model = _model_of_run(ledger, account)
    own = account.all_labels
    both = own if not labels else labels if not own else {**labels, **own}
    name, provider = model_of(ledger, model, account.caps)
    return Subject(
        account.id,
        account.agent_type,
        account.budget_product,
        account.budget_workflow,
        name,
        provider,
        both,
        account.caps,
    )


def limits_of(
    ledger: Ledger,
    account: Account,
    model: str | None = None,
    labels: dict[str, str] | None = None,
    *,
    hold: bool = False,
) -> Sequence[Counted]:
    """The limits that an open account counts in with what a message says, in the order of `LimitIndex.matching`; of a
    hold only those that it is known of. Where None stands for the value, `own_value` says it.

    Those of the configuration are found once for all accounts that are alike to them.
    """
    index, caps = ledger.rules.limits, account.caps
    if model is None and account.run is not None:
        model = _model_of_run(ledger, account)
    kind: tuple[str | None, ...] = (account.agent_type, account.budget_product, account.budget_workflow, model)
    if index.asks_for:
        kind += tuple([_said(account, labels, key) for key in index.asks_for])
    found = index.known.get(kind)
    if found is None:
        if len(index.known) >= KNOWN_MAX:
            index.known.clear()
        subject = subject_of(ledger, account, model, labels)
        found = [(rule, None if rule.is_by_own else rule.value_of(subject)) for rule in index.find(subject)]
        index.known[kind] = found
    if hold and model is None:
        found = [one for one in found if not one[0].asks_for_model]
    if not caps:
        return found
    subject = subject_of(ledger, account, model, labels)
    return [*found, *((rule, rule.owner) for rule in caps if not rule.match or rule.fits(subject))]


def own_value(rule: LimitRule, account: Account, labels: dict[str, str] | None) -> str:
    """Whose counter it is of a limit that counts by accounts or by a label."""
    value = _said(account, labels, rule.scope)
    # What calls itself so must not bring all that is new to share its counter.
    return NONE if value == OTHER else value or NONE


def _said(account: Account, labels: dict[str, str] | None, key: int | str) -> str | None:
    """The id of an account, or what a label says: its own has precedence over that of a message."""
    if isinstance(key, int):
        return account.id
    own = account.all_labels
    if own is not None and key in own:
        return own[key]
    return None if labels is None else labels.get(key)


def _model_of_run(ledger: Ledger, account: Account) -> str | None:
    """A run that names no model is on that which it was started with."""
    task = ledger.tasks.get(account.id) if account.is_run else None  # also while it ends
    return None if task is None else task.model


def limits_of_late(
    ledger: Ledger, event: UsageReported, model: str | None, labels: dict[str, str] | None
) -> Sequence[Counted]:
    """The limits that a report without an account counts in: it says itself what it counts for."""
    caps = caps_of_late(ledger, event)
    name, provider = model_of(ledger, model, caps)
    said = Subject(event.agent, event.agent_type, event.product, event.workflow, name, provider, labels, caps)
    return [(rule, rule.value_of(said)) for rule in ledger.rules.limits.matching(said)]


def of_hold(hold: Hold | EndedHold, event: UsageReported | HoldSettled) -> tuple[str | None, dict[str, str] | None]:
    """The model and the labels of what a hold was used for: as its settlement says, else as the hold did."""
    model = event.model or (None if hold.limited is None else hold.limited.model)
    before = None if hold.notes is None else hold.notes.labels
    return model, {**(before or {}), **(event.labels or {})} or None


def caps_of_late(ledger: Ledger, event: UsageReported | UsageCorrected) -> tuple[LimitRule, ...]:
    """What was used by an account that is not open counts in the limits that the account is under which pays."""
    payer = None if event.charged is None else ledger.accounts.get(event.charged)
    return () if payer is None else payer.caps


def model_of(ledger: Ledger, model: str | None, caps: tuple[LimitRule, ...] = ()) -> tuple[str | None, str | None]:
    """A model under the one name that limits know it by, and who serves it, where a limit asks: as the catalogue says
    of just this name, else as the name itself does, else as the price list does.
    """
    if model is None:
        return None, None
    rules = ledger.rules
    provider = rules.catalogued.get(model, (model, None))[1]
    if not rules.limits.needs_provider and not any(rule.needs_provider for rule in caps):
        return rules.model_name(model), None
    if provider is None:
        provider = provider_of(model)
    if provider is None:
        found = rules.find_price(model, None)
        provider = None if found is None else found.provider
    return rules.model_name(model), None if provider is None else PROVIDERS.get(provider.lower(), provider)


def held_units(hold: Hold) -> Units:
    """What of a hold is held, by measure: its requests and known input count as used since it was placed."""
    tokens, time_ms, cost = hold.amount
    limited = hold.limited
    assert limited is not None
    sent, got = (0, limited.output) if limited.split else (tokens, tokens)
    return (tokens, time_ms, cost, sent, got, 0, 1)


def used_units(event: UsageReported | HoldSettled | Said, requests: int) -> Units:
    """What was used, by measure. Without a split, tokens count wholly as input and as output."""
    sent, got = event.input_tokens, event.output_tokens
    if sent is None and got is None:
        sent = got = event.tokens
    else:
        # What a total has beyond its split is output.
        sent, got = sent or 0, got or 0
        got += max(0, event.tokens - sent - got)
    return (event.tokens, event.time_ms, event.cost_nanos, sent, got, requests, 0)


def requests_of(named: int | None, is_request: bool) -> int:
    """How many requests a message is about: as it says, or one where it names a model or an operation."""
    return named if named is not None else int(is_request)
