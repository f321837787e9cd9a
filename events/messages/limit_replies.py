"""What is answered about limits."""

from typing import Any

import msgspec

from tallystick.events.messages.replies import Number, Reply


class LimitStatus(msgspec.Struct, omit_defaults=True):
    """One counter of a limit, by measure in edge units. ``value`` is None where nothing was counted yet.

    ``percentage`` is the greatest part that is used, held or committed; ``ends_at`` is left out where the window rolls
    or never ends; ``raised_until`` is "revoked" where a raise stays until then.
    ``rate_limited_until``: a provider has refused a request, and nothing is granted until then.
    """

    limit: str
    per: str
    value: str | None
    window: str
    then: str
    counts_since: str
    max: dict[str, Number | str]
    used: dict[str, Number | str]
    held: dict[str, Number | str]
    left: dict[str, Number | str]
    percentage: float
    committed: dict[str, Number | str] | None = None
    match: dict[str, Any] | None = None
    ends_at: str | None = None
    raised_until: str | None = None
    rate_limited_until: str | None = None


class LimitStatuses(Reply):
    """Answers `GetLimits` (nearest to exhaustion first; ``counters`` is how many there are in all) and `ApproveLimit`
    of a limit.
    """

    limits: list[LimitStatus]
    counters: int
