"""Alerts, as `tallystick alerts --json` and the dashboard say them."""

from typing import Any

import msgspec

from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views import alerts as alerts_view
from tallystick.projections.views.alerts import AlertRow, AlertsView


def alerts_of(views: ViewStore) -> list[AlertRow]:
    """All alerts, the newest first.

    Raises:
        NotKept: the rows cannot be read.
    """
    rows = [alerts_view.decode(data) for data in views.whole((AlertsView.name,)).rows.get(AlertsView.name, ())]
    rows.reverse()
    return rows


def alert_json(row: AlertRow) -> dict[str, Any]:
    """One alert in plain values."""
    found: dict[str, Any] = {name: getattr(row, name) for name in row.__struct_fields__}
    found["at"] = row.at.isoformat().replace("+00:00", "Z")
    return {name: msgspec.to_builtins(value) for name, value in found.items()}
