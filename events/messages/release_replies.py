"""What is answered to a release."""

import msgspec

from tallystick.events.messages.replies import EdgeAmounts, Number, Reply


class FinalReport(msgspec.Struct):
    """An account's last statement."""

    utilization: float
    overrun: EdgeAmounts
    borrowed: EdgeAmounts
    level: str
    opened_at: str
    open_seconds: Number
    children_released: int
    holds_cancelled: int


class ReleasedBudget(Reply):
    """Answers `ReleaseBudget`."""

    agent: str
    allocated: EdgeAmounts
    consumed: EdgeAmounts
    unused: EdgeAmounts
    final_report: FinalReport
