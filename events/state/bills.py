"""What came of the bills of providers: of each the newest one that was reconciled."""

from typing import Final

import msgspec

PROVIDERS_MAX: Final = 100
"""Of so many providers; the one whose bill was recorded longest ago is forgotten first."""


class Bill(msgspec.Struct, frozen=True, gc=False):
    """A bill: its digest, the days that it is of, and in nano-dollars what was billed, what of that is explained, and
    what agents had reported by themselves.
    """

    bill: str
    first_day: str
    last_day: str
    billed: int
    explained: int
    reported: int


Bills = dict[str, Bill]
"""By provider, in the order in which they were recorded."""


def put_bill(bills: Bills, provider: str, bill: Bill) -> None:
    """Keep the newest bill of a provider."""
    bills.pop(provider, None)
    bills[provider] = bill
    if len(bills) > PROVIDERS_MAX:
        del bills[next(iter(bills))]
