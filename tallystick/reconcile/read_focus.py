"""Bills in the form of FOCUS (CSV), 1.0 to 1.3: lines of usage, with the tokens where they are counted."""

import json
from typing import Final

from tallystick.reconcile.billed import TOTAL, BilledRow, Line, Other, Parts, Rows, nothing_else_than_dollars

_NEEDED: Final = {"BilledCost", "ChargePeriodStart", "ChargePeriodEnd"}
_USAGE: Final = "Usage"
_TOKENS: Final = "tokens"
NO_MODEL: Final = "usage without a model"
"""How usage is described that names no model."""


def looks_so(line: Line) -> bool:
    """Whether an object is a row of FOCUS."""
    return line.fields.keys() >= _NEEDED


def rows(line: Line) -> Rows:
    """The line of a row.

    Raises:
        BillError: something of it is not as it should be.
    """
    nothing_else_than_dollars(line["BillingCurrency"])
    cost, kind = line["BilledCost"].nanos(), line["ChargeCategory"].text() or _USAGE
    if kind != _USAGE or cost < 0:
        if cost:
            yield Other(kind if kind != _USAGE else "Credit", cost)
        return
    tags = _tags(line)
    is_tokens = (line["ConsumedUnit"].text() or "").lower() == _TOKENS
    parts = Parts(fresh=line["ConsumedQuantity"].count()) if is_tokens else None
    if not cost and not (parts and parts.all):
        return
    model = line.first("x_Model", "SkuId", "SkuMeter").text()
    yield BilledRow(
        line.first("ServiceProviderName", "ProviderName", "Provider").text() or "focus",
        line["ChargePeriodStart"].moment(),
        line["ChargePeriodEnd"].moment(),
        model,
        tags.get("key"),
        line["x_Agent"].text() or tags.get("agent"),
        parts=parts,
        cost=cost,
        detail=TOTAL,
        item=None if model else line["ChargeDescription"].text() or "usage",
    )


def _tags(line: Line) -> dict[str, str]:
    text = line["Tags"].text()
    if text is None:
        return {}
    try:
        tags = json.loads(text)
    except ValueError:
        raise line["Tags"].bad("an object in JSON") from None
    if not isinstance(tags, dict):
        raise line["Tags"].bad("an object in JSON")
    return {name: value for name, value in tags.items() if isinstance(value, str)}
