"""What is answered about the day, its limits and the priorities of products."""

from tallystick.events.messages.replies import EdgeAmounts, Reply


class Today(Reply):
    """Answers `ApproveLimit` and `ResetBreaker`: the day, and what opened the breaker (null: it is closed)."""

    date: str | None
    ends_at: str
    used: EdgeAmounts
    held: EdgeAmounts
    limits: EdgeAmounts
    breaker: str | None
    silenced: list[str]


class Overridden(Reply):
    """Answers `OverridePriority`: what the product's tasks are now, null where each has its own."""

    product: str
    priority: str | None
