"""Bills in the form of FOCUS (CSV), 1.0 to 1.3: lines of usage, with the tokens where they are counted."""

from typing import Final

from tallystick.importing.fields import Fields
from tallystick.reconcile.billed import TOTAL, BilledRow, Other, Parts, nanos_of

NEEDED: Final = ("BilledCost", "ChargePeriodStart", "ChargePeriodEnd")
_USAGE: Final = "Usage"
_TOKENS: Final = "tokens"


def row_of(fields: Fields, place: str) -> BilledRow | Other | None:
    """The line of a row; None for one of nothing.

    Raises:
        Misread: a field says something else than it may.
        BillError: an amount is too large.
    """
    if (fields.text("BillingCurrency") or "USD").upper() != "USD":
        raise fields.misread("BillingCurrency", "USD: the fleet's books are in US dollars")
    began, ended = fields.moment("ChargePeriodStart"), fields.moment("ChargePeriodEnd")
    if began is None or ended is None or ended <= began:
        raise fields.misread("ChargePeriodEnd", "a time after ChargePeriodStart, like 2026-03-05T00:00:00Z")
    text, kind = fields.text("BilledCost") or "", fields.text("ChargeCategory") or _USAGE
    is_credit = text.startswith("-")
    # What is given back stands with a minus, which no usage has.
    cost = Fields({"BilledCost": text.removeprefix("-")}).money("BilledCost")
    if cost is None:
        raise fields.misread("BilledCost", "an amount in US dollars")
    nanos = nanos_of(-cost if is_credit else cost, place)
    if kind != _USAGE or is_credit:
        return Other(kind if kind != _USAGE else "Credit", nanos) if nanos else None
    is_tokens = (fields.text("ConsumedUnit") or "").lower() == _TOKENS
    parts = Parts(fresh=fields.count("ConsumedQuantity") or 0) if is_tokens else None
    if not nanos and not (parts and parts.all):
        return None
    model, tags = fields.text("x_Model", "SkuId"), fields.inside("Tags")
    return BilledRow(
        fields.text("ServiceProviderName", "ProviderName", "Provider") or "focus",
        began,
        ended,
        model,
        tags.text("api_key", "key"),
        fields.text("x_Agent") or tags.text("agent"),
        parts=parts,
        cost=nanos,
        detail=TOTAL,
        item=None if model else fields.text("ChargeDescription") or "usage",
    )
