"""The fleet behind a server: one that runs here, one that another server writes, or one of a shard."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tallystick.actors.runtime.intake import Asker
from tallystick.actors.runtime.log_feed import LogFeed
from tallystick.actors.runtime.pending import ANSWER_SECONDS
from tallystick.events.log.codec import Message
from tallystick.events.log.store import Store
from tallystick.http.access import FleetAccess

if TYPE_CHECKING:
    from tallystick.delegation.link import Answered
    from tallystick.webhooks.webhooks import WebhookFigures


class Served(Protocol):
    """What a server needs of a fleet. ``log_time``: its time is that of its newest event, and not the machine's."""

    @property
    def store(self) -> Store: ...
    @property
    def log_time(self) -> bool: ...
    @property
    def records(self) -> LogFeed: ...
    @property
    def access(self) -> FleetAccess: ...
    @property
    def halted(self) -> str | None: ...
    @property
    def parent_answered(self) -> "Answered | None": ...
    @property
    def webhook_figures(self) -> "Sequence[WebhookFigures]": ...
    async def ask_async(
        self,
        message: Message | Sequence[Message],
        by: str = "local",
        timeout: float = ANSWER_SECONDS,  # noqa: ASYNC109 - as the fleet itself
        *,
        asker: Asker | None = None,
    ) -> Any: ...
