"""What was used, as rows of FOCUS (the FinOps Open Cost and Usage Specification): one for each hour and each
combination of agent, model, product, agent type and labels, out of the rows of the `breakdown` view.

The columns are those of FOCUS 1.0, those that 1.1, 1.2 and 1.3 add, the five that ``focus-validator`` knows under other
names, and our own, which begin with ``x_``. An empty cell is null.
"""

import csv
import datetime as dt
import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from tallystick.config.amounts import COST, TOKENS, dollars
from tallystick.events.state.money import money
from tallystick.projections.reports.breakdown import Days
from tallystick.projections.store.kept_views import KeptViews
from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views.breakdown import BreakdownView, CellRow, decode

NO_MODEL: Final = "usage without a model"
"""How usage is described that names no model."""
_ACCOUNT: Final = "tallystick"
_UNKNOWN: Final = "unknown"
_UNIT: Final = "Tokens"
_HOUR: Final = dt.timedelta(hours=1)
_BATCH: Final = 100

OF_1_0: Final = (
    "AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd",
    "ChargePeriodStart", "CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName",
    "CommitmentDiscountStatus", "CommitmentDiscountType", "ConsumedQuantity", "ConsumedUnit", "ContractedCost",
    "ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory",
    "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "RegionId", "RegionName", "ResourceId",
    "ResourceName", "ResourceType", "ServiceCategory", "ServiceName", "SkuId", "SkuPriceId", "SubAccountId",
    "SubAccountName", "Tags",
)  # fmt: skip
OF_1_1: Final = (
    "CapacityReservationId", "CapacityReservationStatus", "CommitmentDiscountQuantity", "CommitmentDiscountUnit",
    "ServiceSubcategory", "SkuMeter", "SkuPriceDetails",
)  # fmt: skip
OF_1_2: Final = (
    "BillingAccountType", "InvoiceId", "PricingCurrency", "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice", "SubAccountType",
)  # fmt: skip
OF_1_3: Final = (
    "AllocatedMethodDetails", "AllocatedMethodId", "AllocatedResourceId", "AllocatedResourceName", "AllocatedTags",
    "ContractApplied", "HostProviderName", "ServiceProviderName",
)  # fmt: skip
OF_THE_VALIDATOR: Final = ("InvoiceIssuer", "Provider", "Publisher", "ResourceID", "ChargeType")
"""How ``focus-validator`` 1.0.0 calls InvoiceIssuerName, ProviderName, PublisherName, ResourceId, ChargeCategory."""
OWN: Final = ("x_Agent", "x_AgentType", "x_Model", "x_Product", "x_Reports")
COLUMNS: Final = (*OF_1_0, *OF_1_1, *OF_1_2, *OF_1_3, *OF_THE_VALIDATOR, *OWN)

Provider = Callable[[str], str | None]


def as_csv(cells: Iterable[CellRow], provider: Provider) -> Iterator[bytes]:
    """The cells as CSV (RFC 4180), the head first; ``provider`` says who sells a model."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, restval="")
    writer.writeheader()
    for count, cell in enumerate(cells, start=1):
        writer.writerow(row_of(cell, provider))
        if count % _BATCH == 0:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def cells_of(views: ViewStore, days: Days) -> Iterator[CellRow]:
    """The cells of these days in which something was used or cost, in the order of time, as of one moment.

    Raises:
        NotKept: the rows cannot be read.
    """
    for data in _rows(views):
        cell = decode(data)
        if not isinstance(cell, CellRow) or not _between(cell.date, days):
            continue
        used = money(cell.used.triple)
        if used[TOKENS] or used[COST]:
            yield cell


def _rows(views: ViewStore) -> Iterator[bytes]:
    if not isinstance(views, KeptViews):
        yield from views.whole((BreakdownView.name,)).rows[BreakdownView.name]
        return
    with views.reading() as (_, _, rows):
        for view, kept in rows:
            if view == BreakdownView.name and isinstance(kept.row, str | bytes):
                yield kept.row if isinstance(kept.row, bytes) else kept.row.encode()


def _between(date: str, days: Days) -> bool:
    return (days.first is None or date >= days.first) and (days.last is None or date <= days.last)


def row_of(cell: CellRow, provider: Provider) -> dict[str, str]:
    """A cell as a row; what is null is left out.

    A sum that a correction made negative is one of charges before: its class is Correction. Unit prices are null: a row
    has tokens of several kinds, which have prices of their own.
    """
    used = money(cell.used.triple)
    cost = f"-{dollars(-used[COST])}" if used[COST] < 0 else dollars(used[COST])
    began = dt.datetime.fromisoformat(f"{cell.hour}+00:00")
    seller = (None if cell.model is None else provider(cell.model)) or _UNKNOWN
    row = dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), cost)
    row |= dict.fromkeys(("BillingCurrency", "PricingCurrency"), "USD")
    row |= dict.fromkeys(("ConsumedQuantity", "PricingQuantity"), f"{used[TOKENS]}.0")
    row |= dict.fromkeys(("ConsumedUnit", "PricingUnit", "SkuMeter"), _UNIT)
    row |= dict.fromkeys(("ResourceId", "ResourceID", "ResourceName", "x_Agent"), cell.agent)
    row |= dict.fromkeys(("InvoiceIssuerName", "ProviderName", "PublisherName", *OF_THE_VALIDATOR[:3]), seller)
    row |= dict.fromkeys(("HostProviderName", "ServiceProviderName"), seller)
    row |= {
        "BillingAccountId": _ACCOUNT,
        "BillingAccountName": _ACCOUNT,
        "BillingAccountType": "Fleet",
        "BillingPeriodStart": _stamp(_month(began)),
        "BillingPeriodEnd": _stamp(_month(_month(began) + dt.timedelta(days=32))),
        "ChargeCategory": "Usage",
        "ChargeType": "Usage",
        "ChargeDescription": NO_MODEL if cell.model is None else f"tokens of {cell.model}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _stamp(began),
        "ChargePeriodEnd": _stamp(began + _HOUR),
        "PricingCategory": "Standard",
        "PricingCurrencyEffectiveCost": cost,
        "SkuPriceId": cell.model or _UNKNOWN,
        "ResourceType": "Agent",
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "Language models",
        "ServiceSubcategory": "Generative AI",
        "Tags": json.dumps(cell.labels, ensure_ascii=False, sort_keys=True, separators=(",", ":")),
        "x_Reports": str(cell.reports),
    }
    if used[COST] < 0 or used[TOKENS] < 0:
        row["ChargeClass"] = "Correction"
    if cell.model is not None:
        row |= dict.fromkeys(("SkuId", "x_Model"), cell.model)
    if cell.product is not None:
        row |= dict.fromkeys(("SubAccountId", "SubAccountName", "x_Product"), cell.product)
        row["SubAccountType"] = "Product"
    if cell.type is not None:
        row["x_AgentType"] = cell.type
    return row


def _month(at: dt.datetime) -> dt.datetime:
    """When the month of a moment began, in UTC."""
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _stamp(at: dt.datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}Z"
