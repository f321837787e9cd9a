"""What came of a provider's bill beside what agents had reported."""

from typing import ClassVar

from tallystick.events.catalog.event import Event, Kind


class BillReconciled(Event, kw_only=True, tag="bill-reconciled.v1"):
    """A provider's bill was laid beside the reports. ``bill`` is the SHA-256 of its files, ``first_day`` and
    ``last_day`` are the days that it is of. ``explained_nanos`` of what was billed has a report or a known cause;
    ``reported_nanos`` of it agents had reported by themselves. ``short`` are the agents that had reported less than
    was billed.
    """

    kind: ClassVar[Kind] = "fact"
    bill: str
    provider: str
    first_day: str
    last_day: str
    billed_nanos: int
    explained_nanos: int
    reported_nanos: int
    short: list[str] = []
