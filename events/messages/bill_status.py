"""How the bill of a provider is shown that was reconciled."""

import msgspec


class BillStatus(msgspec.Struct, frozen=True):
    """What came of the newest bill of a provider: ``coverage`` is the part of what was billed that is explained, and
    ``reported`` the part that agents had reported by themselves, both to 6 places, rounded down.
    """

    bill: str
    first_day: str
    last_day: str
    billed_usd: str
    coverage: float
    reported: float
