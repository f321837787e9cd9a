"""The answer to what came of a bill."""

from tallystick.events.messages.bill_status import BillStatus
from tallystick.events.messages.replies import Reply


class Reconciled(Reply):
    """Answers `RecordReconciliation`; ``recorded`` is false where this bill was kept already."""

    provider: str
    status: BillStatus
    recorded: bool = True
